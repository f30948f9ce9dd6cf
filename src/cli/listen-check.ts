import { createServer } from 'node:net'
import { CannotStartError } from './cannot-start-error.ts'

/**
 * Fails early, before anything is started, where the API could not listen.
 * @throws CannotStartError naming the port and the flag
 */
export async function checkCanListen(host: string, port: number): Promise<void> {
  if (port === 0) return
  const error = await new Promise<Error | undefined>((resolve) => {
    const server = createServer()
    server.once('error', resolve)
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
  if (error !== undefined) throw describeListenError(error, host, port) ?? error
}

/** Undefined for an error that does not come from listening. */
export function describeListenError(error: unknown, host: string, port: number): CannotStartError | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'EADDRINUSE':
      return new CannotStartError(
        `Port ${port} on ${host} is in use by another program. Choose another with --port (or SLUICE_PORT).`,
      )
    case 'EACCES':
      return new CannotStartError(
        `This user may not listen on port ${port}. Choose one above 1023 with --port (or SLUICE_PORT).`,
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new CannotStartError(`${host} is no address of this machine. Choose another with --host.`)
    default:
      return undefined
  }
}
