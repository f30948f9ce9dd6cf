import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noop } from '../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { decideTicket } from '../tasks/decide-ticket.ts'

const tables = [
  'tickets',
  'decisions',
  'notifications',
  'notification_reads',
  'notification_preferences',
  'webhooks',
  'deliveries',
]

let core: GovernedCore
beforeAll(async () => {
  core = await startGovernedCore('version: 1\nrules: [{ name: held, approval: { quorum: 2 } }]')
  const { taskId } = await core.acceptor.accept({
    operation: noop,
    input: { name: 'one' },
    options: {},
    tenant: 'ours',
    actor: 'rita',
  })
  const person = { name: 'anna', roles: ['approver'] }
  await decideTicket(core, { tenant: 'ours', ticketId: taskId, person, decision: 'approve' })
  await core.database.pool.query(`
    insert into sluice.notification_reads (notification_id, tenant_id, principal)
      select notification_id, tenant_id, 'anna' from sluice.notifications;
    insert into sluice.notification_preferences values ('ours', 'anna', '{}');
    insert into sluice.webhooks (webhook_id, tenant_id, style, url, kinds, created_by)
      values ('${randomUUID()}', 'ours', 'standard', 'https://example.com', '{}', 'adam');
    insert into sluice.deliveries (delivery_id, tenant_id, webhook_id, notification_id, body)
      select '${randomUUID()}', 'ours', webhook_id, '${randomUUID()}', '{}' from sluice.webhooks`)
})
afterAll(() => core.stop())

const rowsSeen = (tenant: string | undefined, table: string) =>
  core.database.transaction({ role: 'sluice_api', ...(tenant !== undefined && { tenant }) }, async (tx) => {
    const { rows } = await sql`select from sluice.${sql.raw(table)}`.execute(tx)
    return rows.length
  })

describe('row-level security of approvals and notifications', () => {
  test.each(tables)('%s: ours to us, nothing to another tenant and to nobody', async (table) => {
    expect(await rowsSeen('ours', table)).toBe(1)
    expect(await rowsSeen('theirs', table)).toBe(0)
    expect(await rowsSeen(undefined, table)).toBe(0)
  })

  test.each(tables)('%s: nobody changes what is not theirs', async (table) => {
    const change = (verb: string) =>
      core.database
        .transaction({ role: 'sluice_api', tenant: 'theirs' }, (tx) =>
          sql
            .raw(verb)
            .execute(tx)
            .then(({ numAffectedRows = 0n }) => Number(numAffectedRows)),
        )
        .catch((error: { code?: string }) => error.code)
    // 42501: not granted at all.
    expect([0, '42501']).toContain(await change(`update sluice.${table} set tenant_id = tenant_id`))
    expect([0, '42501']).toContain(await change(`delete from sluice.${table}`))
  })

  test.each([
    `insert into sluice.notification_preferences values ('ours', 'eve', '{}')`,
    `insert into sluice.webhooks (webhook_id, tenant_id, style, url, kinds, created_by)
       values (gen_random_uuid(), 'ours', 'standard', 'https://evil.example.com', '{}', 'eve')`,
    `insert into sluice.decisions (ticket_id, tenant_id, stage, decision, principal, payload_hash, rule_digest)
       values ('$ticket', 'ours', 0, 'approve', 'eve', 'h', 'd')`,
  ])('another tenant writes nothing as ours: %s', async (statement) => {
    const { rows } = await core.database.pool.query<{ id: string }>(`select ticket_id id from sluice.tickets`)
    const text = statement.replace('$ticket', rows[0]?.id ?? '')
    const insert = (tenant: string) =>
      core.database.transaction({ role: 'sluice_api', tenant }, (tx) => sql.raw(text).execute(tx))
    await expect(insert('theirs')).rejects.toThrow(/row-level security/)
    await expect(insert('ours')).resolves.toBeDefined()
  })
})
