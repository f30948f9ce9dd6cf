import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPolicyStore, type PolicyStore } from '../../src/approvals/policy-store.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { createTaskAcceptor, type TaskAcceptorOptions } from '../../src/tasks/accept-task.ts'
import { createGate, type Gate } from '../../src/tasks/gate.ts'
import { type Core, startCore } from './core.ts'

/** The core with a policy at its door. */
export interface GovernedCore extends Core {
  readonly policies: PolicyStore
  readonly gate: Gate
  /** Writes the file, as an administrator would, and looks at it. */
  setPolicy(text: string): Promise<void>
}

export async function startGovernedCore(
  policy: string,
  { url, ...options }: Partial<TaskAcceptorOptions> & { readonly url?: string } = {},
): Promise<GovernedCore> {
  const core = await startCore(url === undefined ? {} : { url })
  const folder = await mkdtemp(join(tmpdir(), 'sluice-policy-'))
  const file = join(folder, 'policy.yaml')
  await writeFile(file, policy)
  const policies = createPolicyStore({
    database: core.database,
    logger: createMemoryLogger(),
    platformTenant: 'platform',
    file,
    pollMs: 3_600_000,
  })
  await policies.start()
  const gate = createGate({ active: policies.active })
  return {
    ...core,
    policies,
    gate,
    acceptor: createTaskAcceptor({ ...core, gate, ...options }),
    setPolicy: async (text) => {
      await writeFile(file, text)
      await policies.look()
    },
    stop: async () => {
      await policies.stop()
      await core.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
