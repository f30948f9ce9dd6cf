/** Longest name of a file or folder that every file system takes, with room for the suffix. */
const maxNameLength = 200

/**
 * Where a key's file is, relative to the folder of keys. Any key has a place of its own: an object `a` is the file `a.o`,
 * the folder of `a/b` is `a.d`, and names too long for a file system go on in folders that end in `+`.
 */
export function pathOfKey(key: string): string {
  const parts = key.split('/')
  return parts.map((part, index) => pathOfPart(part, index === parts.length - 1 ? '.o' : '.d')).join('/')
}

/** The key of a path made by `pathOfKey`; `undefined` for any other file. */
export function keyOfPath(path: string): string | undefined {
  if (!path.endsWith('.o')) return undefined
  const names = path.split('/')
  let key = ''
  for (const name of names) {
    if (name.endsWith('+')) key += name.slice(0, -1)
    else if (name.endsWith('.d')) key += `${name.slice(0, -2)}/`
    else key += name.slice(0, -2)
  }
  try {
    return key.split('/').map(decodeURIComponent).join('/')
  } catch {
    return undefined
  }
}

/** The deepest folder that holds every key with this prefix. */
export function folderOfPrefix(prefix: string): string {
  const parts = prefix.split('/').slice(0, -1)
  return parts.map((part) => pathOfPart(part, '.d')).join('/')
}

function pathOfPart(part: string, suffix: string): string {
  const name = encodeURIComponent(part).replaceAll('.', '%2E').replaceAll('*', '%2A')
  const pieces: string[] = []
  for (let at = 0; at < name.length; at += maxNameLength) pieces.push(name.slice(at, at + maxNameLength))
  return pieces.map((piece, index) => piece + (index === pieces.length - 1 ? suffix : '+')).join('/')
}
