import { createServer, type Server } from 'node:net'
import type { ClusterIdentity } from './cluster-folder.ts'

/** Somebody else listens where the cluster wants to. */
export class PortTakenError extends Error {
  readonly code = 'port_taken'

  constructor(host: string, port: number, options?: ErrorOptions) {
    super(
      `The simulated cluster cannot listen on ${host}:${port}: the port is taken. Stop what uses it (perhaps another start on the same data folder), or give another port.`,
      options,
    )
    this.name = 'PortTakenError'
  }
}

/** Another process serves the same data folder on another port. */
export class FolderInUseError extends Error {
  readonly code = 'folder_in_use'

  constructor(folder: string, port: number) {
    super(
      `The simulated cluster's data folder ${folder} is in use by the one on port ${port}. Stop it, or give another folder.`,
    )
    this.name = 'FolderInUseError'
  }
}

/**
 * Listens before anything is read: the port is also the lock on the data folder. Whoever gets the server attaches to it
 * in the same turn of the event loop, so that no connection comes too early.
 */
export async function openListener(host: string, port: number): Promise<Server> {
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') {
      throw new PortTakenError(host, port, { cause: error })
    }
    throw error
  }
  return server
}

export function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Where another port than the kept one is asked for, the kept one is asked whether it still serves the folder. */
export async function refuseSecondStart(
  folder: string,
  identity: ClusterIdentity,
  options: { readonly host: string; readonly port: number },
): Promise<void> {
  const { port: kept, token } = identity
  if (kept === undefined || kept === options.port) return
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  let answered: boolean
  try {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(`http://${host}:${kept}/version`, { headers, signal: AbortSignal.timeout(1_000) })
    await response.arrayBuffer()
    answered = response.ok
  } catch {
    // Nobody there, or somebody who does not speak HTTP: not the one that knows this token.
    answered = false
  }
  if (answered) throw new FolderInUseError(folder, kept)
}
