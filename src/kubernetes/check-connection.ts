import type { Cluster } from './cluster.ts'
import { ClusterError } from './cluster-errors.ts'

export type ConnectionCheck =
  { readonly reachable: true; readonly version: string } | { readonly reachable: false; readonly reason: string }

/** Asks the API server whether it is there and takes our credentials, for 5 s at most. Never rejects. */
export async function checkConnection(
  cluster: () => Cluster,
  options: { readonly timeoutMs?: number } = {},
): Promise<ConnectionCheck> {
  const signal = AbortSignal.timeout(options.timeoutMs ?? 5_000)
  try {
    const connected = cluster()
    const version = await connected.version({ signal })
    // Everybody may ask for the version; what is served is told to those who are known.
    await connected.request({ method: 'GET', path: '/api', signal })
    return { reachable: true, version }
  } catch (error) {
    if (error instanceof ClusterError) return { reachable: false, reason: error.message }
    return { reachable: false, reason: 'It does not answer in time.' }
  }
}
