import { afterAll, beforeAll, describe, test } from 'vitest'
import { startSimulatedCluster, type SimulatedCluster } from '../../../src/kubernetes/simulated/simulated-cluster.ts'
import { allCases } from './all-cases.ts'
import type { ConformanceCluster } from './conformance-case.ts'
import { prepareCluster } from './prepare-cluster.ts'

let simulated: SimulatedCluster
let cluster: ConformanceCluster

beforeAll(async () => {
  simulated = await startSimulatedCluster({ bookmarkMs: 300 })
  cluster = (await prepareCluster(simulated.kubeconfig())).cluster
})

afterAll(async () => {
  await simulated.stop()
})

for (const area of new Set(allCases.map((known) => known.area))) {
  describe(`the simulated cluster behaves as an API server: ${area}`, () => {
    for (const { title, run } of allCases.filter((known) => known.area === area)) test(title, () => run(cluster))
  })
}
