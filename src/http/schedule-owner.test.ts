import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noop } from '../../test/helpers/core.ts'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { until } from '../../test/helpers/until.ts'
import { createClient, type SluiceClient } from '../client/index.ts'
import type { Role } from '../contract/identity.ts'
import { createDatabase, type Database } from '../database/database.ts'
import { grantRole, withdrawRole } from '../identity/role-bindings.ts'
import { createToken } from '../identity/tokens.ts'
import { type RunningSluice, startSluice } from '../main.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'

// What operators ask for is free, what others ask for needs an approval, and some of it nobody gets.
const policy = `version: 1
rules:
  - { name: never, when: 'input.name.startsWith("evil")', deny: Never. }
  - { name: operators, when: '"operator" in requester.roles', allow: true }
  - { name: rest, approval: {} }
`

let database: Database
let folder: string
let sluice: RunningSluice
beforeAll(async () => {
  const { url } = await createTestDatabase()
  database = createDatabase({ url, poolMax: 2, poolMin: 0 })
  folder = await mkdtemp(join(tmpdir(), 'sluice-policy-'))
  await writeFile(join(folder, 'policy.yaml'), policy)
  sluice = await startSluice({
    databaseUrl: url,
    port: 0,
    poolMax: 10,
    operations: [noop],
    policyFile: join(folder, 'policy.yaml'),
    logger: createMemoryLogger(),
  })
})
afterAll(async () => {
  await sluice.stop()
  await database.stop()
  await rm(folder, { recursive: true })
})

const role = (principal: string, name: Role) => ({ tenant: 'acme', principal, role: name, actor: 'founder' })

/** Somebody with a role of the tenant, and what they may do as a client. */
async function person(...names: Role[]): Promise<{ name: string; client: SluiceClient }> {
  const name = `p-${randomUUID().slice(0, 8)}`
  for (const one of names) await grantRole(database, role(name, one))
  const { token } = await createToken(database, { tenant: 'acme', actor: 'founder', principal: name, name: 'test' })
  return { name, client: createClient({ baseUrl: sluice.url, token }) }
}

const schedule = (client: SluiceClient, name: string) =>
  client.createSchedule({ name: randomUUID(), operation: noop.type, input: { name }, cron: '0 0 1 1 *' })

/** Makes it due, and returns it once the running worker has seen that. */
async function fired(client: SluiceClient, scheduleId: string, name: string) {
  const find = async () => (await client.schedules()).find(({ schedule_id }) => schedule_id === scheduleId)
  const before = await find()
  await database.pool.query(
    `update sluice.schedules set next_run_at = date_trunc('milliseconds', now()) where name = $1`,
    [name],
  )
  await until(async () => (await find())?.last_run_at !== before?.last_run_at)
  return find()
}

describe('a firing is accepted as the schedule’s owner, as of that day', () => {
  test('with the roles that the owner has then: the policy looks at them', async () => {
    const { name, client } = await person('operator', 'requester')
    const made = await schedule(client, `of-the-day-${name}`)
    const free = await fired(client, made.schedule_id, made.name)
    const ran = await client.waitForTask(free?.last_task_id ?? '')
    expect(ran).toMatchObject({ status: 'COMPLETED', requested_by: name, schedule_id: made.schedule_id })
    await withdrawRole(database, role(name, 'operator'))
    const held = await fired(client, made.schedule_id, made.name)
    expect(await client.getTask(held?.last_task_id ?? '')).toMatchObject({
      status: 'AWAITING_APPROVAL',
      requested_by: name,
    })
  })

  test('who made the owner’s token does not decide what the schedule asks for', async () => {
    const { name } = await person('requester')
    const maker = await person('approver')
    const made = await createToken(database, { tenant: 'acme', actor: maker.name, principal: name, name: 'made' })
    const one = await schedule(createClient({ baseUrl: sluice.url, token: made.token }), `made-${name}`)
    const { last_task_id: taskId } = (await fired(maker.client, one.schedule_id, one.name)) ?? {}
    const ticketId = (await maker.client.getTask(taskId ?? '')).ticket?.split('/').at(-1) ?? ''
    const ticket = await maker.client.getTicket(ticketId)
    expect(ticket).toMatchObject({ requested_by: name, may_decide: false })
    const { payload_hash } = ticket
    await expect(maker.client.approveTicket(ticketId, { payload_hash })).rejects.toMatchObject({
      problem: { status: 403, code: 'forbidden' },
    })
    await (await person('approver')).client.approveTicket(ticketId, { payload_hash })
  })

  test('an owner who may not ask any more: skipped, recorded, told', async () => {
    const { name, client } = await person('viewer', 'requester')
    const made = await schedule(client, `lost-${name}`)
    await withdrawRole(database, role(name, 'requester'))
    const why = `Skipped: ${name}, who owns the schedule, may not ask for test.noop any more.`
    expect(await fired(client, made.schedule_id, made.name)).toMatchObject({ last_task_id: null, last_outcome: why })
    const { rows } = await database.pool.query(
      `select kind, data->>'detail' as detail from sluice.notifications where recipients = array[$1]`,
      [`acme/principal:${name}`],
    )
    expect(rows).toEqual([{ kind: 'schedule_skipped', detail: why }])
    const { rows: log } = await database.pool.query(
      `select type from sluice.domain_events where payload->>'name' = $1 order by seq`,
      [made.name],
    )
    expect(log.map(({ type }) => type)).toEqual(['schedule.created', 'schedule.skipped'])
  })

  test('an owner whose role holds elsewhere only: skipped', async () => {
    const { name, client } = await person('requester')
    const made = await schedule(client, `elsewhere-${name}`)
    await grantRole(database, { ...role(name, 'requester'), environments: ['test'] })
    const why = `Skipped: ${name} may ask for changes in test only, and this one is in prod.`
    expect(await fired(client, made.schedule_id, made.name)).toMatchObject({ last_task_id: null, last_outcome: why })
  })

  test('what the policy denies is skipped, and the owner is told why', async () => {
    const { name, client } = await person('operator')
    const made = await schedule(client, `evil-${name}`)
    expect(await fired(client, made.schedule_id, made.name)).toMatchObject({ last_outcome: 'Skipped: Never.' })
    const { rows } = await database.pool.query(`select kind from sluice.notifications where recipients = array[$1]`, [
      `acme/principal:${name}`,
    ])
    expect(rows).toEqual([{ kind: 'schedule_skipped' }])
  })
})
