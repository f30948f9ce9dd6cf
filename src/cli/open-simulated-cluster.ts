import { mkdir, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CannotStartError } from './cannot-start-error.ts'
import { openDataFolder } from './data-folder.ts'
import { FolderLockedError, lockFolder } from './folder-lock.ts'

export interface OpenSimulatedCluster {
  readonly kubeconfigPath: string
  stop(): Promise<void>
}

/** Starts the simulated cluster on its data; `port` 0 takes a free one instead of the one kept there. */
export type StartSimulatedCluster = (options: {
  readonly dataDir: string
  readonly port?: 0
}) => Promise<{ kubeconfig(): string; stop(): Promise<void> }>

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
  const kubeconfigPath = join(await openDataFolder(dataDir), 'simulated-cluster.kubeconfig')
  try {
    const lock = await lockFolder(join(dataDir, 'simulated-cluster.lock'))
    try {
      const cluster = await startOnAnyPort(join(dataDir, 'simulated-cluster'), start)
      await writeFile(`${kubeconfigPath}.new`, cluster.kubeconfig(), { mode: 0o600 })
      await rename(`${kubeconfigPath}.new`, kubeconfigPath)
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

/** Its kubeconfig is written at every start, so nobody needs the old port when somebody else took it. */
async function startOnAnyPort(dataDir: string, start: StartSimulatedCluster): ReturnType<StartSimulatedCluster> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  try {
    return await start({ dataDir })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'port_taken')) throw error
    return start({ dataDir, port: 0 })
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
