import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { completed, defineOperation } from '../operations/define-operation.ts'
import type { AcceptRequest } from './accept-task.ts'
import { acceptBatch } from './batch.ts'
import { cancelTask } from './cancel-task.ts'

const operation = (type: string) =>
  defineOperation({
    type,
    title: 'A test',
    input: z.strictObject({ name: z.string() }),
    class: 'short',
    uniqueKey: ({ name }) => name,
    perform: async () => completed({}),
  })
const create = operation('vm.create')
const other = operation('zone.create')

const policy = (quotas: string) => `version: 1
${quotas}
rules:
  - name: all
    allow: true
`
const twoMachines = 'quotas: [{ name: machines, operations: [vm.create], active_tasks: 2 }]'

describe('quotas: a tenant has so many active tasks, and no more', () => {
  let core: GovernedCore

  beforeAll(async () => {
    core = await startGovernedCore(policy(twoMachines))
  })
  afterAll(() => core.stop())

  const accept = (tenant: string, more: Partial<AcceptRequest> = {}) =>
    core.acceptor.accept({
      operation: create,
      input: { name: randomUUID() },
      options: {},
      tenant,
      actor: 'rita',
      ...more,
    })

  test('what comes at once shares what is left, exactly; tenants and other operations do not', async () => {
    const all = await Promise.all([
      ...Array.from({ length: 12 }, () => accept('crowded')),
      ...Array.from({ length: 3 }, () => accept('crowded', { operation: other })),
      accept('elsewhere'),
    ])
    const outcomes = all.map(({ outcome }) => outcome)
    expect(outcomes.slice(0, 12).toSorted()).toEqual([...Array(2).fill('accepted'), ...Array(10).fill('over_quota')])
    expect(outcomes.slice(12)).toEqual(Array(4).fill('accepted'))
    expect(all.find(({ outcome }) => outcome === 'over_quota')?.reason).toBe('machines (2 active tasks)')
    const { rows } = await core.database.pool.query(
      `select (select count(*)::int from sluice.tasks where tenant_id = 'crowded' and operation = 'vm.create') tasks,
        (select count(*)::int from sluice.domain_events where tenant_id = 'crowded' and operation = 'vm.create') events`,
    )
    expect(rows).toEqual([{ tasks: 2, events: 2 }])
  })

  test('a place is free again when a task has ended, and not before', async () => {
    const [first] = await Promise.all([accept('waiting'), accept('waiting')])
    await expect(accept('waiting')).resolves.toMatchObject({ outcome: 'over_quota' })
    await cancelTask(core, { tenant: 'waiting', taskId: first?.taskId ?? '', actor: 'rita' })
    await expect(accept('waiting')).resolves.toMatchObject({ outcome: 'accepted' })
    await expect(accept('waiting')).resolves.toMatchObject({ outcome: 'over_quota' })
  })

  test('who joins what is there takes no place', async () => {
    const input = { name: 'shared' }
    await accept('joining', { input })
    await accept('joining')
    await expect(accept('joining', { input, actor: 'omar' })).resolves.toMatchObject({ outcome: 'joined' })
  })

  test('a batch over the quota writes nothing, and says which items', async () => {
    const who = { tenant: 'batches', actor: 'rita' }
    const items = Array.from({ length: 4 }, (_, n) => ({
      ...who,
      operation: create,
      input: { name: `item-${n}` },
      options: {},
    }))
    const refused = await acceptBatch(core, { ...who, items, onError: 'continue' }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ errors: [{ index: 2 }, { index: 3 }] })
    const { rows } = await core.database.pool.query(`select from sluice.tasks where tenant_id = 'batches'`)
    expect(rows).toHaveLength(0)
  })

  test('a quota may be for some tenants, and changes with the policy', async () => {
    await core.setPolicy(policy('quotas: [{ name: small, tenants: [tiny], active_tasks: 1 }]'))
    await expect(accept('tiny')).resolves.toMatchObject({ outcome: 'accepted' })
    await expect(accept('tiny', { operation: other })).resolves.toMatchObject({ outcome: 'over_quota' })
    await expect(accept('waiting')).resolves.toMatchObject({ outcome: 'accepted' })
    await core.setPolicy(policy(twoMachines))
  })

  test('the platform’s log says which policy was loaded, and by whom', async () => {
    const { rows } = await core.database.pool.query(
      `select actor, payload->>'digest' digest, payload->'version' version from sluice.domain_events
        where tenant_id = 'platform' and type = 'policy.loaded' order by seq`,
    )
    const history = await core.policies.history(10)
    expect(rows).toEqual(
      history.toReversed().map(({ digest, version, loaded_by: actor }) => ({ actor, digest, version })),
    )
  })
})
