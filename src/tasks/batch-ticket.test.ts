import { createHash, randomUUID } from 'node:crypto'
import canonicalize from 'canonicalize'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noop } from '../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { TicketRefusedError } from '../approvals/ticket-refused-error.ts'
import { toWireId } from '../contract/ids.ts'
import { cancelMany } from './act-on-many.ts'
import { acceptBatch, findBatch } from './batch.ts'
import { cancelTask } from './cancel-task.ts'
import { decideTicket, type TicketDecision } from './decide-ticket.ts'
import { expireTickets } from './expire-tickets.ts'
import { reevaluateTickets } from './reevaluate-tickets.ts'

const policy = (rules: string, more = '') => `version: 1\n${more}\nrules:\n${rules}\n  - { name: rest, allow: true }\n`
const when = (kind: string) => `'input.name.startsWith("${kind}-")'`
const twoRules = `
  - { name: red, when: ${when('red')}, approval: { quorum: 1 } }
  - { name: blue, when: ${when('blue')}, approval: { quorum: 2, from: { roles: [approver] } } }`

let core: GovernedCore
beforeAll(async () => {
  core = await startGovernedCore(policy(twoRules))
})
afterAll(() => core.stop())

/** A batch of items whose names begin so; each name is new. */
async function submit(kinds: readonly string[], fields: { tenant?: string; actor?: string } = {}) {
  const { tenant = 'default', actor = 'rita' } = fields
  const items = kinds.map((kind) => ({
    operation: noop,
    input: { name: `${kind}-${randomUUID()}` },
    options: {},
    tenant,
    actor,
    roles: ['requester', 'approver'],
  }))
  const { batch_id } = await acceptBatch(core, { items, tenant, actor, onError: 'continue' })
  return { batchId: batch_id, ...(await look(batch_id)) }
}

interface Look {
  readonly items: { task_id: string; status: string; ticket_id: string | null; jobs: number }[]
  readonly tickets: {
    ticket_id: string
    rule: string
    state: string
    payload_hash: string
    stage: number
    decided: number
  }[]
}

/** The items of a batch in its order, and its tickets by rule. */
async function look(batchId: string): Promise<Look> {
  const { rows: items } = await core.database.pool.query(
    `select task_id, status, ticket_id, (select count(*)::int from pgboss.job j where j.id = t.task_id) jobs
     from sluice.tasks t where batch_id = $1 order by task_id`,
    [batchId],
  )
  const { rows: tickets } = await core.database.pool.query(
    `select ticket_id, rule, state, payload_hash, stage, (select count(*)::int from sluice.decisions d
       where d.ticket_id = k.ticket_id and d.dropped_at is null and d.items is null) decided
     from sluice.tickets k where batch_id = $1 order by rule`,
    [batchId],
  )
  return { items, tickets }
}

const statuses = ({ items }: Look) => items.map(({ status }) => status)
const jobs = ({ items }: Look) => items.map((item) => item.jobs)

const decide = (ticketId: string | undefined, fields: Partial<TicketDecision> = {}) =>
  decideTicket(core, {
    tenant: 'default',
    ticketId: ticketId ?? '',
    person: { name: 'anna', roles: ['approver'] },
    decision: 'approve',
    ...fields,
  })
const person = (name: string, ...roles: string[]) => ({ person: { name, roles } })
const bert = person('bert', 'approver')
const refusal = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof TicketRefusedError ? error.code : String(error)),
  )
const wire = (taskId: string | undefined) => toWireId('task', taskId ?? '')

async function told(batchId: string) {
  const { rows } = await core.database.pool.query<{ kind: string; recipients: string[]; items: number; event: string }>(
    `select kind, recipients, (data->>'items')::int as items, data->>'event' as event from sluice.notifications
     where data->>'batch' = $1 order by seq`,
    [toWireId('batch', batchId)],
  )
  return rows
}

describe('items of a batch that need an approval share one ticket per policy rule', () => {
  test('one ticket and one notification for each rule; what needs none has its job at once', async () => {
    const batch = await submit(['red', 'free', 'blue', 'red', 'free'])
    const [blue, red] = batch.tickets
    expect(batch.tickets.map(({ rule, state }) => [rule, state])).toEqual([
      ['blue', 'open'],
      ['red', 'open'],
    ])
    expect(statuses(batch)).toEqual([
      'AWAITING_APPROVAL',
      'PENDING',
      'AWAITING_APPROVAL',
      'AWAITING_APPROVAL',
      'PENDING',
    ])
    expect(jobs(batch)).toEqual([0, 1, 0, 0, 1])
    expect(batch.items.map(({ ticket_id }) => ticket_id)).toEqual([
      red?.ticket_id,
      null,
      blue?.ticket_id,
      red?.ticket_id,
      null,
    ])
    expect(await told(batch.batchId)).toEqual([
      {
        kind: 'approval_pending',
        recipients: ['default/role:admin', 'default/role:approver'],
        items: 2,
        event: 'ticket.opened',
      },
      { kind: 'approval_pending', recipients: ['default/role:approver'], items: 1, event: 'ticket.opened' },
    ])
    expect((await findBatch(core.database, 'default', batch.batchId))?.counts).toMatchObject({
      AWAITING_APPROVAL: 3,
      PENDING: 2,
    })
  })

  test('its hash is over the hashes of its items, in their order', async () => {
    const { tickets, items } = await submit(['red', 'free', 'red'])
    const hashes = await core.database.pool.query<{ hash: string }>(
      `select payload #>> '{item,payload_hash}' as hash from sluice.domain_events
       where task_id = any($1) and type = 'task.requested' order by task_id`,
      [[items[0]?.task_id, items[2]?.task_id]],
    )
    const expected = createHash('sha256').update(canonicalize(hashes.rows.map(({ hash }) => hash)) ?? '')
    expect(tickets[0]?.payload_hash).toBe(expected.digest('hex'))
  })

  test('a batch opens one ticket, however many items it has: the limits count tickets', async () => {
    await core.setPolicy(policy(twoRules, 'limits: { open_tickets_per_requester: 1, open_tickets_per_tenant: 1000 }'))
    const tenant = 'limited'
    await submit(['red', 'red', 'red'], { tenant })
    const refused = submit(['free', 'red'], { tenant })
    await expect(refused).rejects.toMatchObject({ code: 'batch_refused', errors: [{ index: 1 }] })
    const { rows } = await core.database.pool.query(
      `select count(*)::int as tasks, count(distinct batch_id)::int as batches from sluice.tasks where tenant_id = $1`,
      [tenant],
    )
    expect(rows).toEqual([{ tasks: 3, batches: 1 }])
    await core.setPolicy(policy(twoRules))
  })
})

describe('approve whole, or reject items', () => {
  test('an approval gives every item its job, and tells the requester once', async () => {
    const batch = await submit(['red', 'red', 'free'])
    const [ticket] = batch.tickets
    expect(await decide(ticket?.ticket_id, { payloadHash: ticket?.payload_hash })).toBeNull()
    const after = await look(batch.batchId)
    expect(statuses(after)).toEqual(['PENDING', 'PENDING', 'PENDING'])
    expect(jobs(after)).toEqual([1, 1, 1])
    expect(after.tickets).toMatchObject([{ state: 'approved' }])
    expect((await told(batch.batchId)).slice(1)).toEqual([
      { kind: 'approval_decided', recipients: ['default/principal:rita'], items: 2, event: 'ticket.decided' },
    ])
  })

  test('no approval without the jobs: what fails in the transaction leaves the ticket open', async () => {
    const batch = await submit(['red', 'red'])
    const queue = { ...core.queue, insert: () => Promise.reject(new Error('the engine is gone')) }
    const deciding = decideTicket(
      { ...core, queue },
      { tenant: 'default', ticketId: batch.tickets[0]?.ticket_id ?? '', ...bert, decision: 'approve' },
    )
    await expect(deciding).rejects.toThrow('the engine is gone')
    expect(await look(batch.batchId)).toEqual({ items: batch.items, tickets: batch.tickets })
  })

  test('a rejection that names items leaves the rest to be decided, bound to what is left', async () => {
    const batch = await submit(['red', 'free', 'red', 'red', 'red'])
    const [ticket] = batch.tickets
    const reject = (items: (string | number)[]) =>
      refusal(decide(ticket?.ticket_id, { decision: 'reject', items, comment: 'not these', ...bert }))
    expect(await reject([2, wire(batch.items[4]?.task_id)])).toBe('done')
    const after = await look(batch.batchId)
    expect(statuses(after)).toEqual(['AWAITING_APPROVAL', 'PENDING', 'REJECTED', 'AWAITING_APPROVAL', 'REJECTED'])
    expect(after.tickets[0]?.state).toBe('open')
    expect(after.tickets[0]?.payload_hash).not.toBe(ticket?.payload_hash)
    // What was rejected, what needed no approval, and what is no item at all.
    expect([await reject([2]), await reject([1]), await reject([99])]).toEqual(Array(3).fill('unknown_item'))
    expect(await reject([wire(randomUUID())])).toBe('unknown_item')
    const approve = (payloadHash: string | undefined) => refusal(decide(ticket?.ticket_id, { payloadHash, ...bert }))
    expect(await approve(ticket?.payload_hash)).toBe('payload_changed')
    // Who rejected some may approve the rest.
    expect(await approve(after.tickets[0]?.payload_hash)).toBe('done')
    expect(jobs(await look(batch.batchId))).toEqual([1, 1, 0, 1, 0])
    expect((await told(batch.batchId)).map(({ kind, items }) => [kind, items])).toEqual([
      ['approval_pending', 4],
      ['approval_decided', 2],
      ['approval_decided', 2],
    ])
  })

  test('a rejection of all, named or not, closes the ticket', async () => {
    const [named, whole] = [await submit(['red', 'red']), await submit(['red', 'red', 'free'])]
    await decide(named.tickets[0]?.ticket_id, { decision: 'reject', items: [0, 1] })
    await decide(whole.tickets[0]?.ticket_id, { decision: 'reject' })
    for (const { batchId } of [named, whole]) {
      const after = await look(batchId)
      expect(after.tickets).toMatchObject([{ state: 'rejected' }])
      expect(statuses(after).slice(0, 2)).toEqual(['REJECTED', 'REJECTED'])
      expect(jobs(after).slice(0, 2)).toEqual([0, 0])
    }
  })

  test('who approved before items went has approved something else: it counts no more, and they are told', async () => {
    const batch = await submit(['blue', 'blue', 'blue'])
    const ticketId = batch.tickets[0]?.ticket_id
    await decide(ticketId)
    expect(await refusal(decide(ticketId))).toBe('already_decided')
    await decide(ticketId, { decision: 'reject', items: [1], ...bert })
    expect((await look(batch.batchId)).tickets).toMatchObject([{ state: 'open', decided: 0 }])
    const changed = (await told(batch.batchId)).filter(({ kind }) => kind === 'approval_changed')
    expect(changed).toMatchObject([{ items: 2, recipients: expect.arrayContaining(['default/principal:anna']) }])
    await decide(ticketId, bert)
    expect((await look(batch.batchId)).tickets).toMatchObject([{ state: 'open', decided: 1 }])
    await decide(ticketId)
    expect(statuses(await look(batch.batchId))).toEqual(['PENDING', 'REJECTED', 'PENDING'])
  })

  test('nobody decides on a batch that they asked for, or of which they joined an item', async () => {
    const name = `red-${randomUUID()}`
    const request = { operation: noop, input: { name }, options: {}, tenant: 'default', actor: 'rita', roles: [] }
    const batch = await acceptBatch(core, { items: [request], tenant: 'default', actor: 'rita', onError: 'continue' })
    const joined = await core.acceptor.accept({ ...request, actor: 'anna' })
    expect(joined.outcome).toBe('joined')
    const ticketId = (await look(batch.batch_id)).tickets[0]?.ticket_id
    expect(await refusal(decide(ticketId))).toBe('own_request')
    expect(await refusal(decide(ticketId, person('rita', 'approver')))).toBe('own_request')
    expect(await refusal(decide(ticketId, { tenant: 'other', ...bert }))).toBe('not_found')
    expect(await refusal(decide(ticketId, bert))).toBe('done')
  })
})

describe('withdraw, expire and cancel, as for the ticket of one task', () => {
  test('withdrawn by the requester: every item ends', async () => {
    const batch = await submit(['red', 'free', 'red'])
    const ticketId = batch.tickets[0]?.ticket_id
    expect(await refusal(decide(ticketId, { decision: 'withdraw' }))).toBe('not_the_requester')
    await decide(ticketId, { decision: 'withdraw', ...person('rita') })
    const after = await look(batch.batchId)
    expect(statuses(after)).toEqual(['CANCELLED', 'PENDING', 'CANCELLED'])
    expect(after.tickets).toMatchObject([{ state: 'withdrawn' }])
  })

  test('not decided in time: every item expires, and the requester hears of it once', async () => {
    const batch = await submit(['red', 'free', 'red'])
    await core.database.pool.query(
      `update sluice.tickets set expires_at = clock_timestamp() - interval '1 ms' where ticket_id = $1`,
      [batch.tickets[0]?.ticket_id],
    )
    expect(await refusal(decide(batch.tickets[0]?.ticket_id))).toBe('ticket_closed')
    expect(await expireTickets({ ...core, workerId: 'w' })).toBe(1)
    const after = await look(batch.batchId)
    expect(statuses(after)).toEqual(['EXPIRED', 'PENDING', 'EXPIRED'])
    expect(after.tickets).toMatchObject([{ state: 'expired' }])
    expect((await told(batch.batchId)).slice(1)).toMatchObject([
      { kind: 'approval_expired', recipients: ['default/principal:rita'], items: 2 },
    ])
  })

  test('a cancelled item leaves its ticket; with the last one the ticket closes', async () => {
    const batch = await submit(['red', 'red'])
    const [ticket] = batch.tickets
    const cancel = (i: number) =>
      cancelTask(core, { tenant: 'default', taskId: batch.items[i]?.task_id ?? '', actor: 'rita' })
    await cancel(0)
    expect((await look(batch.batchId)).tickets).toMatchObject([{ state: 'open' }])
    expect(await refusal(decide(ticket?.ticket_id, { payloadHash: ticket?.payload_hash }))).toBe('payload_changed')
    await cancel(1)
    expect((await look(batch.batchId)).tickets).toMatchObject([{ state: 'cancelled' }])
  })

  test('cancelling the batch ends what waits for its tickets, and closes them', async () => {
    const batch = await submit(['red', 'free', 'blue', 'red', 'blue'])
    const filter = { batch_id: toWireId('batch', batch.batchId) }
    expect(await cancelMany(core, { tenant: 'default', actor: 'rita', filter })).toMatchObject({ matched: 5, done: 5 })
    const after = await look(batch.batchId)
    expect(statuses(after)).toEqual(Array(5).fill('CANCELLED'))
    expect(after.tickets).toMatchObject([{ state: 'cancelled' }, { state: 'cancelled' }])
  })
})

describe('a new policy judges every item', () => {
  const judge = () => reevaluateTickets({ ...core, active: core.policies.active })

  test('the same rule: kept, with what was said', async () => {
    await core.setPolicy(policy(twoRules))
    const batch = await submit(['blue', 'blue'])
    await decide(batch.tickets[0]?.ticket_id)
    const before = await look(batch.batchId)
    await core.setPolicy(policy(`  - { name: new, when: 'tenant == "nobody"', deny: No. }${twoRules}`))
    expect(await judge()).toBeGreaterThan(0)
    expect(await judge()).toBe(0)
    expect(await look(batch.batchId)).toEqual(before)
  })

  test('another rule for all: the ticket stays, decisions are dropped, people are told', async () => {
    await core.setPolicy(policy(twoRules))
    const batch = await submit(['blue', 'blue'])
    await decide(batch.tickets[0]?.ticket_id)
    await core.setPolicy(policy(twoRules.replace('quorum: 2', 'quorum: 3')))
    await judge()
    const after = await look(batch.batchId)
    expect(after.tickets).toEqual([{ ...batch.tickets[0], decided: 0 }])
    expect((await told(batch.batchId)).at(-1)).toMatchObject({
      kind: 'approval_changed',
      recipients: expect.arrayContaining(['default/principal:anna', 'default/principal:rita', 'default/role:approver']),
    })
  })

  test('allowed: released · denied: REJECTED · another rule than the rest: under a ticket of that rule', async () => {
    const oneRule = `  - { name: all, when: '!input.name.startsWith("free-")', approval: { quorum: 2 } }`
    await core.setPolicy(policy(oneRule))
    const batch = await submit(['red', 'blue', 'green', 'black', 'blue', 'plain', 'plain'])
    const [old] = batch.tickets
    expect(batch.tickets).toHaveLength(1)
    await decide(old?.ticket_id)
    await core.setPolicy(
      policy(`${twoRules}
  - { name: black, when: ${when('black')}, deny: Never. }
  - { name: green, when: ${when('green')}, allow: true }
${oneRule}`),
    )
    await judge()
    const after = await look(batch.batchId)
    expect(statuses(after)).toEqual([
      'AWAITING_APPROVAL',
      'AWAITING_APPROVAL',
      'PENDING',
      'REJECTED',
      'AWAITING_APPROVAL',
      'AWAITING_APPROVAL',
      'AWAITING_APPROVAL',
    ])
    expect(jobs(after)).toEqual([0, 0, 1, 0, 0, 0, 0])
    expect(after.tickets.map(({ rule, state, decided }) => [rule, state, decided])).toEqual([
      ['all', 'open', 0],
      ['blue', 'open', 0],
      ['red', 'open', 0],
    ])
    const [all, blue, red] = after.tickets.map(({ ticket_id }) => ticket_id)
    expect(all).toBe(old?.ticket_id)
    expect(after.items.map(({ ticket_id }) => ticket_id)).toEqual([red, blue, all, all, blue, all, all])

    // Back again: all of them under one ticket, and the others are closed without a decision.
    await core.setPolicy(policy(oneRule))
    await judge()
    const back = await look(batch.batchId)
    expect(back.tickets.map(({ ticket_id, state }) => [ticket_id, state])).toEqual([
      [all, 'open'],
      [blue, 'cancelled'],
      [red, 'cancelled'],
    ])
    await decide(all)
    await decide(all, bert)
    expect(statuses(await look(batch.batchId))).toEqual([
      'PENDING',
      'PENDING',
      'PENDING',
      'REJECTED',
      'PENDING',
      'PENDING',
      'PENDING',
    ])
  })
})

describe('races over the ticket of a batch', () => {
  const rounds = Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50)

  test(`${rounds} rounds: one decision per item, and as many jobs as approvals`, { timeout: 1_200_000 }, async () => {
    const open = 'limits: { open_tickets_per_requester: 100000, open_tickets_per_tenant: 100000 }'
    const moved = policy(`  - { name: red, when: ${when('red')}, approval: { quorum: 1, expires_in: 2d } }`, open)
    await core.setPolicy(policy(twoRules, open))
    let approvals = 0
    let given = 0
    for (let round = 0; round < rounds; round++) {
      const batch = await submit(['red', 'free', 'red', 'red'], { tenant: 'races' })
      const ticketId = batch.tickets[0]?.ticket_id
      if (round % 3 === 0) {
        await core.database.pool.query(
          `update sluice.tickets set expires_at = clock_timestamp() + interval '3 ms' where ticket_id = $1`,
          [ticketId],
        )
      }
      // Every seventh round the policy changes beneath it, too.
      if (round % 7 === 0) await core.setPolicy(round % 2 === 0 ? moved : policy(twoRules, open))
      const tenant = 'races'
      const payloadHash = batch.tickets[0]?.payload_hash
      await Promise.all([
        refusal(decide(ticketId, { tenant, payloadHash })),
        refusal(decide(ticketId, { tenant, ...bert })),
        refusal(decide(ticketId, { tenant, decision: 'reject', items: [2], ...person('carl', 'approver') })),
        ...(round % 2 === 0
          ? [refusal(decide(ticketId, { tenant, decision: 'reject', ...person('dora', 'approver') }))]
          : []),
        refusal(decide(ticketId, { tenant, decision: 'withdraw', ...person('rita') })),
        cancelTask(core, { tenant, taskId: batch.items[0]?.task_id ?? '', actor: 'rita' }),
        expireTickets({ ...core, workerId: 'w' }),
        reevaluateTickets({ ...core, active: core.policies.active }).catch(deadlockOnly),
      ])
      await expireTickets({ ...core, workerId: 'w' })
      const { items, tickets } = await look(batch.batchId)
      const { rows } = await core.database.pool.query<{ task_id: string; types: string[] }>(
        `select task_id, array_agg(type order by seq) types from sluice.domain_events where task_id = any($1) and type in
          ('task.approved', 'task.rejected', 'task.expired', 'task.cancelled') group by task_id`,
        [items.map(({ task_id }) => task_id)],
      )
      for (const { types } of rows) {
        // An approved item may be cancelled afterwards, like any other task; nothing else follows anything.
        const [first, ...others] = types
        expect(others).toEqual(first === 'task.approved' && others.length > 0 ? ['task.cancelled'] : [])
        if (first === 'task.approved') approvals++
      }
      // The ticket is open as long as something waits for it, and no longer.
      const waiting = items.filter(({ status }) => status === 'AWAITING_APPROVAL')
      expect(tickets.filter(({ state }) => state === 'open').length).toBe(waiting.length > 0 ? 1 : 0)
      expect(items[1]?.jobs).toBe(1)
      given += items.reduce((sum, item) => sum + item.jobs, 0) - 1
    }
    expect(given).toBe(approvals)
    expect(approvals).toBeGreaterThan(0)
    const { rows } = await core.database.pool.query(
      `select count(*)::int as wrong from sluice.batches b where b.counts <> '{}' and exists (
         select from (select t.status, count(*)::int n from sluice.tasks t where t.batch_id = b.batch_id group by 1) s
         where (b.counts->>s.status)::int is distinct from s.n)`,
    )
    expect(rows).toEqual([{ wrong: 0 }])
  })

  // Whoever judges tickets again comes again.
  const deadlockOnly = (error: Error & { code?: string }) => {
    if (error.code !== '40P01') throw error
  }
})
