import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { noop } from '../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { until } from '../../test/helpers/until.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { createTicketUpkeep } from './reevaluate-tickets.ts'

let core: GovernedCore
beforeAll(async () => {
  core = await startGovernedCore('version: 1\nrules: [{ name: held, approval: {} }]')
})
afterAll(() => core.stop())

test('two processes judge open tickets again after a reload: each task is released once', async () => {
  const tasks = await Promise.all(
    Array.from({ length: 20 }, () =>
      core.acceptor.accept({
        operation: noop,
        input: { name: randomUUID() },
        options: {},
        tenant: 'default',
        actor: 'requester',
      }),
    ),
  )
  expect(tasks.every(({ status }) => status === 'AWAITING_APPROVAL')).toBe(true)
  const logger = createMemoryLogger()
  const upkeeps = [1, 2].map(() => createTicketUpkeep({ ...core, active: core.policies.active, logger, everyMs: 5 }))
  for (const upkeep of upkeeps) upkeep.start()
  await core.setPolicy('version: 1\nrules: [{ name: free, allow: true }]')
  const count = async (text: string) => (await core.database.pool.query<{ n: number }>(text)).rows[0]?.n
  await until(async () => (await count(`select count(*)::int n from sluice.tickets where state = 'approved'`)) === 20)
  for (const upkeep of upkeeps) await upkeep.stop()
  expect(await count(`select count(*)::int n from pgboss.job where name = 'sluice-short'`)).toBe(20)
  expect(await count(`select count(*)::int n from sluice.domain_events where type = 'task.approved'`)).toBe(20)
  expect(logger.lines.filter(({ level }) => level === 'warn')).toEqual([])
})
