import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSimulatedCluster, type StartSimulatedCluster } from './open-simulated-cluster.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sluice-open-cluster-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

const never = new AbortController().signal

/** Records what it is asked for. */
function createStarter(takenPort = false) {
  const calls: Parameters<StartSimulatedCluster>[0][] = []
  const start: StartSimulatedCluster = async (options) => {
    calls.push(options)
    if (takenPort && options.port === undefined) throw Object.assign(new Error('taken'), { code: 'port_taken' })
    return { kubeconfig: () => `kubeconfig ${calls.length}`, stop: () => Promise.resolve() }
  }
  return { start, calls }
}

describe('the simulated cluster of a data folder', () => {
  test('keeps its data in a folder of its own, and its kubeconfig for the owner alone', async () => {
    const { start, calls } = createStarter()
    const cluster = await openSimulatedCluster(dataDir, start, never)
    expect(calls).toEqual([{ dataDir: join(dataDir, 'simulated-cluster') }])
    expect(cluster.kubeconfigPath).toBe(join(dataDir, 'simulated-cluster.kubeconfig'))
    expect(await readFile(cluster.kubeconfigPath, 'utf8')).toBe('kubeconfig 1')
    expect((await stat(cluster.kubeconfigPath)).mode & 0o777).toBe(0o600)
    await cluster.stop()
  })

  test('is run by the first process and used by the others, for as long as the first one runs', async () => {
    const { start, calls } = createStarter()
    const first = await openSimulatedCluster(dataDir, start, never)
    const second = await openSimulatedCluster(dataDir, start, never)
    expect(second.kubeconfigPath).toBe(first.kubeconfigPath)
    expect(calls).toHaveLength(1)
    await second.stop()
    await first.stop()
    await (await openSimulatedCluster(dataDir, start, never)).stop()
    expect(calls).toHaveLength(2)
  })

  test('waits for the kubeconfig of one that is just starting', async () => {
    const ready = Promise.withResolvers<Awaited<ReturnType<StartSimulatedCluster>>>()
    const first = openSimulatedCluster(dataDir, () => ready.promise, never)
    await expect.poll(() => stat(join(dataDir, 'simulated-cluster.lock')).catch(() => undefined)).toBeDefined()
    const second = openSimulatedCluster(dataDir, createStarter().start, never)
    ready.resolve({ kubeconfig: () => 'late', stop: () => Promise.resolve() })
    expect(await readFile((await second).kubeconfigPath, 'utf8')).toBe('late')
    await (await first).stop()
  })

  test('takes another port when somebody took its own', async () => {
    const { start, calls } = createStarter(true)
    await (await openSimulatedCluster(dataDir, start, never)).stop()
    expect(calls.map((call) => call.port)).toEqual([undefined, 0])
  })

  test('that cannot start is not left locked', async () => {
    const failing = openSimulatedCluster(dataDir, () => Promise.reject(new Error('broken journal')), never)
    await expect(failing).rejects.toThrow('broken journal')
    await (await openSimulatedCluster(dataDir, createStarter().start, never)).stop()
  })
})
