import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient, createLiveHub, waitForReady as waitInBrowser } from '../../src/client/index.ts'
import {
  completed,
  connectHub,
  continueWaiting,
  defineOperation,
  NotReadyError,
  rejectWith,
  resolveWith,
  type RunningSluice,
  startSluice,
  waitForDeleted,
  waitForReady,
  waitForVirtualMachineReady,
  waitForWatch,
  type WaitHub,
} from '../../src/index.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import type { WatchEvent } from '../../src/kubernetes/watch-hub.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { createTestDatabase } from '../helpers/test-database.ts'

const machine = { namespace: 'default', name: 'vm' }
const input = { ...machine, cpu: 1, memory: '1Gi', image: 'registry.example/disk:1' }
const devTokens = { requester: 'r'.repeat(43), approver: 'a'.repeat(43), admin: 'd'.repeat(43) }

/** The same lines in an operation, in a script and in a browser: only the hub is another. */
async function watchAMachine(hub: WaitHub, signal: AbortSignal): Promise<string> {
  const ready = await waitForVirtualMachineReady('default', 'vm', { hub, signal, timeoutMs: 20_000 })
  const target = { cluster: 'default', apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', ...machine, whole: true }
  const seen = await waitForWatch<string, WatchEvent>({
    subscribe: (listener) => hub.subscribe(target, listener),
    onEvent: (event) => {
      if (event.type === 'synced') return event.found ? continueWaiting : rejectWith(new Error('no machine'))
      return resolveWith(event.object.metadata.uid)
    },
    signal,
    timeoutMs: 20_000,
  })
  if (seen !== ready.metadata.uid) throw new Error('another machine')
  const nowhere = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', namespace: 'default', name: 'nowhere' }
  await waitForDeleted({ hub, ref: nowhere, signal, timeoutMs: 20_000 })
  const late = await waitForReady({ hub, ref: nowhere, signal, timeoutMs: 200 }).catch((error: unknown) => error)
  if (!(late instanceof NotReadyError) || late.code !== 'timed_out') throw late
  return seen
}

const watching = defineOperation({
  type: 'test.watch',
  title: 'Watch a machine',
  input: z.strictObject({}),
  class: 'long',
  retry: { maxAttempts: 1 },
  perform: async ({ hub, signal }) => completed({ uid: await watchAMachine(hub, signal) }),
})

let simulated: SimulatedCluster
let sluice: RunningSluice
let uid: string
beforeAll(async () => {
  simulated = await startSimulatedCluster({ controllers: { virtualMachineStartAfterMs: 50 } })
  sluice = await startSluice({
    databaseUrl: (await createTestDatabase()).url,
    port: 0,
    poolMax: 10,
    kubeconfig: simulated.kubeconfig(),
    devTokens,
    operations: [watching],
    logger: createMemoryLogger(),
  })
  const task = await client().submit('vm.create', input)
  uid = String((await client().waitForTask(task.task_id)).result?.['uid'])
})
afterAll(async () => {
  await sluice.stop()
  await simulated.stop()
})
const client = () => createClient({ baseUrl: sluice.url, token: devTokens.requester })

describe('waits, with one signature', () => {
  test('in an operation, with the hub of its context', async () => {
    const { task_id } = await client().submit('test.watch', {})
    expect(await client().waitForTask(task_id)).toMatchObject({ status: 'COMPLETED', result: { uid }, error: null })
  })

  test('in a script that has a kubeconfig', async () => {
    const hub = connectHub({ kubeconfig: simulated.kubeconfig() })
    expect(await watchAMachine(hub, AbortSignal.timeout(20_000))).toBe(uid)
    expect(hub.stats().subscribers).toBe(0)
    expect(() => hub.subscribe({ cluster: 'other', apiVersion: 'v1', kind: 'Pod' }, () => undefined)).toThrow(
      'not other',
    )
    await hub.stop()
  })

  test('over the live connection, as in a browser', async () => {
    const live = client().live()
    expect(await watchAMachine(createLiveHub(live), AbortSignal.timeout(20_000))).toBe(uid)
    live.stop()
    expect(waitInBrowser).toBe(waitForReady)
  })
})
