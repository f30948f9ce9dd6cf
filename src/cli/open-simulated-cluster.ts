import { chmod, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CannotStartError } from './cannot-start-error.ts'
import { FolderLockedError, lockFolder } from './folder-lock.ts'

export interface OpenSimulatedCluster {
  readonly kubeconfigPath: string
  stop(): Promise<void>
}

/** Starts the simulated cluster, which writes its kubeconfig to the path that it is given. */
export type StartSimulatedCluster = (options: {
  readonly dataDir: string
  readonly kubeconfigPath: string
}) => Promise<{ stop(): Promise<void> }>

const joinDeadlineMs = 10_000

/**
 * The simulated cluster of a data folder. The first process on the folder runs it, and every other that shares the folder
 * (an API and a worker on one DATABASE_URL) uses that one, for as long as the first runs.
 */
export async function openSimulatedCluster(
  dataDir: string,
  start: StartSimulatedCluster,
  signal: AbortSignal,
): Promise<OpenSimulatedCluster> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const kubeconfigPath = join(dataDir, 'simulated-cluster.kubeconfig')
  try {
    const lock = await lockFolder(join(dataDir, 'simulated-cluster.lock'))
    try {
      const cluster = await start({ dataDir, kubeconfigPath })
      await chmod(kubeconfigPath, 0o600)
      return {
        kubeconfigPath,
        async stop() {
          await cluster.stop()
          await lock.release()
        },
      }
    } catch (error) {
      await lock.release()
      throw error
    }
  } catch (error) {
    if (!(error instanceof FolderLockedError)) throw error
    await waitForFile(kubeconfigPath, error.pid, signal)
    return { kubeconfigPath, stop: () => Promise.resolve() }
  }
}

async function waitForFile(path: string, pid: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + joinDeadlineMs
  while (!(await stat(path).catch(() => undefined))) {
    if (performance.now() > deadline) {
      throw new CannotStartError(
        `Process ${pid} runs the simulated cluster of this data folder, but ${path} does not appear.`,
      )
    }
    await delay(50, undefined, { signal })
  }
}
