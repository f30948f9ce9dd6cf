import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noop } from '../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { TicketRefusedError } from '../approvals/ticket-refused-error.ts'
import { defineOperation, completed } from '../operations/define-operation.ts'
import { z } from 'zod'
import type { AcceptRequest } from './accept-task.ts'
import { cancelTask } from './cancel-task.ts'
import { decideTicket, type TicketDecision } from './decide-ticket.ts'
import { expireTickets } from './expire-tickets.ts'
import { reevaluateTickets } from './reevaluate-tickets.ts'

const policy = (rules: string, more = '') => `version: 1\n${more}\nrules:\n${rules}\n  - { name: rest, allow: true }\n`
const oneApproval = `  - { name: held, when: 'tenant != "free"', approval: { quorum: 1 } }`

let core: GovernedCore
beforeAll(async () => {
  core = await startGovernedCore(policy(oneApproval))
})
afterAll(() => core.stop())

const accept = (fields: Partial<AcceptRequest> = {}) =>
  core.acceptor.accept({
    operation: noop,
    input: { name: randomUUID() },
    options: {},
    tenant: 'default',
    actor: 'rita',
    roles: ['requester', 'approver'],
    ...fields,
  })

const decide = (ticketId: string, fields: Partial<TicketDecision> = {}) =>
  decideTicket(core, {
    tenant: 'default',
    ticketId,
    person: { name: 'anna', roles: ['approver'] },
    decision: 'approve',
    ...fields,
  })

const person = (name: string, ...roles: string[]) => ({ person: { name, roles } })
const codeOf = (error: unknown) => (error instanceof TicketRefusedError ? error.code : String(error))
const refusal = (work: Promise<unknown>) => work.then(() => 'done', codeOf)

async function look(taskId: string) {
  const { rows } = await core.database.pool.query<{
    status: string
    state: string | null
    jobs: number
    decided: number
  }>(
    `select t.status, k.state, (select count(*)::int from pgboss.job j where j.id = t.task_id) jobs,
      (select count(*)::int from sluice.decisions d where d.ticket_id = k.ticket_id and d.dropped_at is null) decided
     from sluice.tasks t left join sluice.tickets k using (task_id) where t.task_id = $1`,
    [taskId],
  )
  return rows[0]
}

describe('unified async model: no job before approval', () => {
  test('request and ticket commit together, and there is no job', async () => {
    const { taskId, status } = await accept()
    expect(status).toBe('AWAITING_APPROVAL')
    expect(await look(taskId)).toEqual({ status: 'AWAITING_APPROVAL', state: 'open', jobs: 0, decided: 0 })
  })

  test('an approval inserts the job; a rejection, a withdrawal and a cancel leave the queue empty', async () => {
    const [approved, rejected, withdrawn, cancelled] = await Promise.all([accept(), accept(), accept(), accept()])
    await decide(approved.taskId)
    await decide(rejected.taskId, { decision: 'reject', comment: 'not today' })
    await decide(withdrawn.taskId, { decision: 'withdraw', ...person('rita') })
    await cancelTask(core, { tenant: 'default', taskId: cancelled.taskId, actor: 'rita' })
    expect(await look(approved.taskId)).toEqual({ status: 'PENDING', state: 'approved', jobs: 1, decided: 1 })
    expect(await look(rejected.taskId)).toEqual({ status: 'REJECTED', state: 'rejected', jobs: 0, decided: 1 })
    expect(await look(withdrawn.taskId)).toEqual({ status: 'CANCELLED', state: 'withdrawn', jobs: 0, decided: 0 })
    expect(await look(cancelled.taskId)).toEqual({ status: 'CANCELLED', state: 'cancelled', jobs: 0, decided: 0 })
  })

  test('an approved task with a start time is scheduled', async () => {
    const { taskId } = await accept({ options: { start_at: '2099-01-01T00:00:00Z' } })
    await decide(taskId)
    expect(await look(taskId)).toMatchObject({ status: 'SCHEDULED', jobs: 1 })
  })

  test('a ticket that nobody decides expires by the clock of the database', async () => {
    const { taskId } = await accept()
    const { taskId: other } = await accept()
    await core.database.pool.query(
      `update sluice.tickets set expires_at = clock_timestamp() - interval '1 ms' where ticket_id = $1`,
      [taskId],
    )
    expect(await refusal(decide(taskId))).toBe('ticket_closed')
    expect(await expireTickets({ ...core, workerId: 'w' })).toBe(1)
    expect(await look(taskId)).toEqual({ status: 'EXPIRED', state: 'expired', jobs: 0, decided: 0 })
    expect(await look(other)).toMatchObject({ state: 'open' })
  })
})

describe('a decision is bound to what was decided', () => {
  test('another payload or another rule than the one seen is refused', async () => {
    const { taskId } = await accept()
    expect(await refusal(decide(taskId, { payloadHash: 'f'.repeat(64) }))).toBe('payload_changed')
    expect(await refusal(decide(taskId, { ruleDigest: 'f'.repeat(64) }))).toBe('rule_changed')
    expect(await look(taskId)).toMatchObject({ state: 'open', decided: 0 })
  })

  test('hash, rule, comment and digest of the diff are kept with the decision', async () => {
    const { taskId } = await accept()
    await decide(taskId, { comment: 'seen', diffDigest: 'd' })
    const { rows } = await core.database.pool.query(
      `select d.comment, d.diff_digest, d.payload_hash = k.payload_hash same_payload, d.rule_digest = k.rule_digest same_rule,
        d.principal from sluice.decisions d join sluice.tickets k using (ticket_id) where ticket_id = $1`,
      [taskId],
    )
    expect(rows).toEqual([
      { comment: 'seen', diff_digest: 'd', same_payload: true, same_rule: true, principal: 'anna' },
    ])
  })

  test('the requester, who joined, and who lacks the role may not decide', async () => {
    const input = { name: randomUUID() }
    const { taskId } = await accept({ input })
    const joined = await accept({ input, actor: 'joe' })
    expect(joined).toMatchObject({ taskId, outcome: 'joined' })
    expect(await refusal(decide(taskId, person('rita', 'approver', 'admin')))).toBe('own_request')
    expect(await refusal(decide(taskId, person('joe', 'approver')))).toBe('own_request')
    expect(await refusal(decide(taskId, { ...person('rita', 'approver'), decision: 'reject' }))).toBe('own_request')
    // With a token that the requester made for somebody else.
    const puppet = { person: { name: 'puppet', roles: ['approver'], madeBy: ['rita'] } }
    expect(await refusal(decide(taskId, puppet))).toBe('own_request')
    const { taskId: asked } = await accept({ actor: 'puppet', madeBy: ['rita'] })
    expect(await refusal(decide(asked, person('rita', 'approver')))).toBe('own_request')
    // Who gave both of them their tokens keeps them from nothing.
    const { taskId: theirs } = await accept({ actor: 'bob', madeBy: ['admin'] })
    expect(await refusal(decide(theirs, { person: { name: 'eve', roles: ['approver'], madeBy: ['admin'] } }))).toBe(
      'done',
    )
    expect(await refusal(decide(taskId, person('olga', 'operator')))).toBe('not_an_approver')
    expect(await refusal(decide(taskId, { decision: 'withdraw', ...person('joe') }))).toBe('not_the_requester')
    expect(await refusal(decide(taskId, { tenant: 'other' }))).toBe('not_found')
    expect(await look(taskId)).toMatchObject({ state: 'open', decided: 0, jobs: 0 })
  })
})

describe('who makes a token for somebody else is behind what is done with it', () => {
  const anna = person('anna', 'approver')
  const two = `  - { name: two, approval: { quorum: 2 } }`
  const withToken = (name: string, ...madeBy: string[]) => ({ person: { name, roles: ['approver'], madeBy } })

  test('two approvals are two people’s, whichever of maker and token comes first', async () => {
    await core.setPolicy(policy(two))
    const ofAnna = withToken('bot', 'anna')
    for (const [first, second] of [
      [anna, ofAnna],
      [ofAnna, anna],
    ] as const) {
      const { taskId } = await accept()
      await decide(taskId, first)
      expect(await refusal(decide(taskId, second))).toBe('already_decided')
      expect(await look(taskId)).toMatchObject({ state: 'open', decided: 1, jobs: 0 })
      await decide(taskId, person('ben', 'approver'))
      expect(await look(taskId)).toMatchObject({ state: 'approved', jobs: 1 })
    }
    await core.setPolicy(policy(oneApproval))
  })

  test('who joined with a token that somebody made for them keeps that one from deciding', async () => {
    const input = { name: randomUUID() }
    const { taskId } = await accept({ input })
    expect(await accept({ input, actor: 'bot', madeBy: ['anna'] })).toMatchObject({ outcome: 'joined' })
    expect(await refusal(decide(taskId, anna))).toBe('own_request')
    expect(await refusal(decide(taskId, withToken('ben', 'anna')))).toBe('done')
  })

  test('an approval counts no more once its maker, or the principal of a token of theirs, asks for the same', async () => {
    await core.setPolicy(policy(two))
    for (const [approval, join] of [
      [anna, { actor: 'bot', madeBy: ['anna'] }],
      [withToken('bot', 'anna'), { actor: 'anna' }],
      [withToken('bot', 'anna'), { actor: 'bot' }],
    ] as const) {
      const input = { name: randomUUID() }
      const { taskId } = await accept({ input })
      await decide(taskId, approval)
      await accept({ input, ...join })
      await decide(taskId, person('ben', 'approver'))
      expect(await look(taskId)).toMatchObject({ state: 'open', decided: 2, jobs: 0 })
      await decide(taskId, person('carl', 'approver'))
      expect(await look(taskId)).toMatchObject({ state: 'approved', jobs: 1 })
    }
    await core.setPolicy(policy(oneApproval))
  })
})

describe('quorum and stages', () => {
  const staged = `
  - name: staged
    approval:
      stages:
        - { name: team, quorum: 2, from: { roles: [approver] } }
        - { name: security, quorum: 1, from: { roles: [admin] } }`

  test('every stage needs its number of different people, in order', async () => {
    await core.setPolicy(policy(staged))
    const { taskId } = await accept()
    expect(await refusal(decide(taskId, person('adam', 'admin')))).toBe('not_an_approver')
    await decide(taskId)
    expect(await refusal(decide(taskId))).toBe('already_decided')
    expect(await look(taskId)).toMatchObject({ state: 'open', jobs: 0, decided: 1 })
    await decide(taskId, person('bert', 'approver'))
    expect(await refusal(decide(taskId, person('carl', 'approver')))).toBe('not_an_approver')
    expect(await refusal(decide(taskId, person('bert', 'admin')))).toBe('already_decided')
    await decide(taskId, person('adam', 'admin'))
    expect(await look(taskId)).toEqual({ status: 'PENDING', state: 'approved', jobs: 1, decided: 3 })
  })

  test('who approves and then joins has approved for nothing', async () => {
    await core.setPolicy(policy(`  - { name: two, approval: { quorum: 2 } }`))
    const input = { name: randomUUID() }
    const { taskId } = await accept({ input })
    await decide(taskId)
    await accept({ input, actor: 'anna' })
    await decide(taskId, person('bert', 'approver'))
    expect(await look(taskId)).toMatchObject({ state: 'open', jobs: 0 })
    await decide(taskId, person('carl', 'approver'))
    expect(await look(taskId)).toMatchObject({ state: 'approved', jobs: 1 })
  })
})

describe('a new policy judges what is open', () => {
  const two = `  - { name: held, approval: { quorum: 2 } }`

  test('same rule: kept · another one: decisions dropped · denied: REJECTED · allowed: released', async () => {
    await core.setPolicy(policy(two))
    const { taskId } = await accept()
    await decide(taskId)
    const judge = () => reevaluateTickets({ ...core, active: core.policies.active })
    await judge()

    await core.setPolicy(policy(`  - { name: new, when: 'tenant == "nobody"', deny: No. }\n${two}`))
    expect(await judge()).toBeGreaterThan(0)
    expect(await look(taskId)).toMatchObject({ state: 'open', decided: 1 })
    expect(await judge()).toBe(0)

    await core.setPolicy(policy(two.replace('2', '3')))
    await judge()
    expect(await look(taskId)).toMatchObject({ state: 'open', decided: 0 })
    await decide(taskId)
    expect(await look(taskId)).toMatchObject({ state: 'open', decided: 1 })

    const { taskId: denied } = await accept({ tenant: 'strict' })
    await core.setPolicy(policy(`  - { name: no, when: 'tenant == "strict"', deny: Closed. }`))
    await judge()
    expect(await look(denied)).toMatchObject({ status: 'REJECTED', state: 'rejected', jobs: 0 })
    expect(await look(taskId)).toMatchObject({ status: 'PENDING', state: 'approved', jobs: 1 })
  })

  test('a file that is no policy changes nothing; every version stays in the history', async () => {
    const before = core.policies.active()
    await core.setPolicy('version: 1\nrules: [{ name: a }]')
    expect(core.policies.active()).toBe(before)
    await core.setPolicy(policy(oneApproval))
    expect(core.policies.active().version).toBeGreaterThan(before.version)
    const history = await core.policies.history(100)
    expect(history.map(({ version }) => version)).toEqual(history.map((_, i) => history.length - i))
    await expect(core.database.pool.query(`update sluice.policies set source = ''`)).rejects.toThrow(/append-only/)
  })
})

describe('the gate', () => {
  const deletion = defineOperation({
    type: 'thing.delete',
    title: 'Delete',
    input: z.strictObject({ name: z.string() }),
    class: 'short',
    target: ({ name }) => `default:test/Thing//${name}`,
    perform: async () => completed({}),
  })
  const prod = `  - { name: prod, when: 'environment == "prod"', approval: {} }`
  const creation = defineOperation({
    type: 'thing.create',
    title: 'Create',
    input: z.strictObject({ name: z.string(), organization: z.string() }),
    class: 'short',
    target: ({ name }) => `default:test/Thing//${name}`,
    organization: ({ organization }) => organization,
    perform: async () => completed({}),
  })
  const environments = 'environments: [{ environment: prod, organizations: [prod] }]'

  async function record(taskId: string, name: string) {
    await core.database.pool.query(
      `insert into sluice.resources (tenant_id, cluster, api_version, kind, name, target, state, task_id)
       values ('default', 'default', 'test/v1', 'Thing', $1, $3, 'present', $2)`,
      [name, taskId, `default:test/Thing//${name}`],
    )
  }

  test('a denied request writes nothing and says why', async () => {
    await core.setPolicy(policy(`  - { name: no, when: 'input.name == "evil"', deny: Never. }`))
    const refused = await accept({ input: { name: 'evil' }, idempotencyKey: 'k1' })
    expect(refused).toMatchObject({ outcome: 'denied', reason: 'Never.' })
    expect(await look(refused.taskId)).toBeUndefined()
  })

  test('the environment of what exists is where its record says; unknown is the strictest', async () => {
    await core.setPolicy(policy(prod, environments))
    const inTest = await accept({ operation: creation, input: { name: 'one', organization: 'acme' } })
    expect(inTest.status).toBe('PENDING')
    const inProd = await accept({ operation: creation, input: { name: 'two', organization: 'prod' } })
    expect(inProd.status).toBe('AWAITING_APPROVAL')
    await cancelTask(core, { tenant: 'default', taskId: inTest.taskId, actor: 'rita' })
    await cancelTask(core, { tenant: 'default', taskId: inProd.taskId, actor: 'rita' })
    await record(inTest.taskId, 'one')
    await record(inProd.taskId, 'two')
    const remove = (name: string) =>
      accept({ operation: deletion, input: { name }, options: { confirm_name: name } }).then(({ status }) => status)
    expect(await remove('one')).toBe('PENDING')
    expect(await remove('two')).toBe('AWAITING_APPROVAL')
    expect(await remove('unknown')).toBe('AWAITING_APPROVAL')
    // The requester's word cannot move what exists.
    const moved = await accept({ operation: creation, input: { name: 'two', organization: 'acme' } })
    expect(moved.outcome).toBe('conflict')
  })

  test('whoever recreates a thing of prod as one of test meets the rules of prod', async () => {
    const { taskId } = await accept({ operation: creation, input: { name: 'three', organization: 'prod' } })
    await cancelTask(core, { tenant: 'default', taskId, actor: 'rita' })
    await record(taskId, 'three')
    const { status } = await accept({ operation: creation, input: { name: 'three', organization: 'acme' } })
    expect(status).toBe('AWAITING_APPROVAL')
  })

  test('a delete in prod needs the name again', async () => {
    const input = { name: `p-${randomUUID()}` }
    expect(await accept({ operation: deletion, input })).toMatchObject({
      outcome: 'unconfirmed',
      reason: expect.stringContaining(input.name),
    })
    expect(await accept({ operation: deletion, input, options: { confirm_name: 'other' } })).toMatchObject({
      outcome: 'unconfirmed',
    })
    expect(await accept({ operation: deletion, input, options: { confirm_name: input.name } })).toMatchObject({
      outcome: 'accepted',
      status: 'AWAITING_APPROVAL',
    })
  })

  test('open tickets are limited per requester and per tenant, exactly, also for requests that come at once', async () => {
    const limits = 'limits: { open_tickets_per_requester: 3, open_tickets_per_tenant: 5 }'
    await core.setPolicy(policy(oneApproval, limits))
    const ask = (actor: string) =>
      Promise.all(Array.from({ length: 6 }, () => accept({ tenant: 'limited', actor }))).then((all) =>
        all.map(({ outcome }) => outcome).toSorted(),
      )
    const [rita, omar] = [await ask('rita'), await ask('omar')]
    expect(rita).toEqual([...Array(3).fill('accepted'), ...Array(3).fill('tickets_of_requester')])
    expect(omar).toEqual([...Array(2).fill('accepted'), ...Array(4).fill('tickets_of_tenant')])
  })
})

describe('races of approve, reject, withdraw, cancel and expire', () => {
  const rounds = Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50)

  test(`${rounds} rounds: one winner each, and as many jobs as approvals`, { timeout: 600_000 }, async () => {
    await core.setPolicy(
      policy(oneApproval, 'limits: { open_tickets_per_requester: 100000, open_tickets_per_tenant: 100000 }'),
    )
    let approvals = 0
    let jobs = 0
    for (let round = 0; round < rounds; round++) {
      const { taskId } = await accept({ tenant: 'races' })
      if (round % 2 === 0) {
        await core.database.pool.query(
          `update sluice.tickets set expires_at = clock_timestamp() + interval '3 ms' where ticket_id = $1`,
          [taskId],
        )
      }
      const tenant = 'races'
      await Promise.all([
        refusal(decide(taskId, { tenant })),
        refusal(decide(taskId, { tenant, ...person('bert', 'approver') })),
        refusal(decide(taskId, { tenant, decision: 'reject', ...person('carl', 'approver') })),
        refusal(decide(taskId, { tenant, decision: 'withdraw', ...person('rita') })),
        cancelTask(core, { tenant, taskId, actor: 'rita' }),
        expireTickets({ ...core, workerId: 'w' }),
      ])
      await expireTickets({ ...core, workerId: 'w' })
      const seen = await look(taskId)
      const { rows } = await core.database.pool.query<{ type: string }>(
        `select type from sluice.domain_events where task_id = $1 and type in
          ('task.approved', 'task.rejected', 'task.expired', 'task.cancelled') order by seq`,
        [taskId],
      )
      // An approved task may be cancelled afterwards, like any other; nothing else follows anything.
      const [first, ...others] = rows.map((row) => row.type)
      expect(others).toEqual(first === 'task.approved' && others.length > 0 ? ['task.cancelled'] : [])
      expect(seen?.state).toEqual(endState[first ?? ''] ?? expect.stringMatching(/withdrawn|cancelled/))
      if (first === 'task.approved') approvals++
      jobs += seen?.jobs ?? 0
    }
    expect(jobs).toBe(approvals)
  })
  const endState: Record<string, string> = {
    'task.approved': 'approved',
    'task.rejected': 'rejected',
    'task.expired': 'expired',
  }
})
