/** What a command of `sluice` needs to find this server: nothing where it looks by itself. */
export function urlOption(origin: string = location.origin): string {
  return origin === 'http://127.0.0.1:8080' ? '' : ` --url ${origin}`
}
