import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../../test/helpers/test-database.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../../kubernetes/simulated/simulated-cluster.ts'
import { type RunningSluice, startSluice } from '../../main.ts'
import { createMemoryLogger } from '../../platform/memory/memory-logger.ts'

const devTokens = { requester: 'r'.repeat(43), approver: 'a'.repeat(43), admin: 'd'.repeat(43) }

let simulated: SimulatedCluster
let sluice: RunningSluice
beforeAll(async () => {
  simulated = await startSimulatedCluster()
  sluice = await startSluice({
    databaseUrl: (await createTestDatabase()).url,
    port: 0,
    poolMax: 10,
    kubeconfig: simulated.kubeconfig(),
    devTokens,
    logger: createMemoryLogger(),
  })
})
afterAll(async () => {
  await sluice.stop()
  await simulated.stop()
})

const post = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  fetch(`${sluice.url}/api/v1${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${devTokens.requester}`, ...headers },
  })

describe('POST routes of operations', () => {
  test('a change whose path says everything needs no body', async () => {
    for (const change of ['start', 'stop', 'restart']) {
      expect((await post(`/vms/default/${change}s/${change}`)).status).toBe(202)
      expect((await post(`/vms/default/${change}-json/${change}`, { 'content-type': 'application/json' })).status).toBe(
        202,
      )
    }
    // The dry run gets as far as the cluster, where the machine is missing.
    expect(await (await post('/vms/default/nowhere/stop/dry-run')).json()).toMatchObject({ code: 'dry_run_refused' })
  })

  test('one that has to be described is refused without it', async () => {
    expect((await post('/vms')).status).toBe(422)
    expect((await post('/vms/dry-run')).status).toBe(422)
  })
})
