/**
 * Runs the conformance cases against any cluster: `node scripts/conformance.ts --kubeconfig F [--context C] [--only TEXT]`.
 * Without a kubeconfig it starts the simulated cluster. It makes a namespace and the definition of a kind of its own, and
 * takes both away at the end. The user of the kubeconfig needs the rights of an administrator, impersonation included.
 * Exit code 0: every case passed; 1: some failed; 2: usage.
 */
import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { startSimulatedCluster } from '../src/kubernetes/simulated/simulated-cluster.ts'
import { allCases } from '../test/conformance/kubernetes/all-cases.ts'
import { prepareCluster } from '../test/conformance/kubernetes/prepare-cluster.ts'

const usage = 'Usage: npm run conformance -- [--kubeconfig FILE] [--context NAME] [--only TEXT]'

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { kubeconfig: { type: 'string' }, context: { type: 'string' }, only: { type: 'string' } },
  })
  const simulated = values.kubeconfig === undefined ? await startSimulatedCluster({ bookmarkMs: 1_000 }) : undefined
  const kubeconfig = simulated?.kubeconfig() ?? (await readFile(values.kubeconfig ?? '', 'utf8'))
  console.log(simulated === undefined ? `cluster of ${values.kubeconfig ?? ''}` : 'simulated cluster')
  const { cluster, cleanUp } = await prepareCluster(kubeconfig, values.context)
  let passed = 0
  let failed = 0
  try {
    const only = values.only ?? ''
    for (const { area, title, run } of allCases.filter((known) => `${known.area}: ${known.title}`.includes(only))) {
      try {
        await run(cluster)
        passed += 1
        console.log(`ok      ${area}: ${title}`)
      } catch (error) {
        failed += 1
        const why = error instanceof Error ? error.message : String(error)
        console.log(`FAILED  ${area}: ${title}\n        ${why.replaceAll('\n', '\n        ')}`)
      } finally {
        cluster.api.closeWatches()
      }
    }
  } finally {
    await cleanUp()
    await simulated?.stop()
  }
  console.log(`${passed} passed, ${failed} failed`)
  return failed === 0 && passed > 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error))
  console.error(usage)
  process.exitCode = 2
}
