import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { eventTypes } from '../contract/event.ts'
import { isTerminal, taskStatuses } from '../contract/task-status.ts'
import { legalMoves, type Writer } from './task-state.ts'

describe('one log, one projection: the database enforces the state table', () => {
  let client: Client

  beforeAll(async () => {
    const database = await createTestDatabase()
    client = new Client({ connectionString: database.url })
    await client.connect()
  })
  afterAll(() => client.end())

  test('legal_moves in the database equals task-state.ts', async () => {
    const { rows } = await client.query<{ type: string; from: string; to: string; by: string }>(
      `select type, from_status "from", to_status "to", role "by" from sluice.legal_moves`,
    )
    const ours = Object.entries(legalMoves).flatMap(([type, moves]) => moves.map((move) => ({ type, ...move })))
    const key = (move: { type: string; from: string; to: string; by: string }) =>
      `${move.type} ${move.from} ${move.to} ${move.by}`
    expect(rows.map(key).toSorted()).toEqual(ours.map(key).toSorted())
  })

  // Every status × every event × both writers: exactly the legal moves are accepted, and each lands where the table says.
  test('every pair of status and event is accepted or refused as the table says', async () => {
    const writers: readonly Writer[] = ['sluice_api', 'sluice_worker']
    const wrong: string[] = []
    for (const status of taskStatuses) {
      for (const type of eventTypes.filter((name) => name !== 'task.requested')) {
        for (const writer of writers) {
          const move = legalMoves[type].find(({ from, by }) => from === status && by === writer)
          const became = await attemptMove({ status, type, writer })
          if (became !== (move?.to ?? 'SL001')) wrong.push(`${status} ${type} ${writer}: ${became}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })

  /** Puts a task in a status through the log, appends the event, and says where it went; rolls back. */
  async function attemptMove(move: { status: string; type: string; writer: Writer }): Promise<string> {
    const task = randomUUID()
    await client.query('begin')
    try {
      await bringTo(client, task, move.status)
      await append(client, { task, type: move.type, writer: move.writer, attempt: attemptOf(move) })
      const { rows } = await client.query<{ status: string; agrees: boolean }>(
        `select status, done = ended and active_key is not distinct from case when not ended then 'default/o/k' end
            and active_target is not distinct from case when not ended then 'default/c:g/Kind//n' end
            and queue_key is not distinct from case when status = 'PENDING' then 'default/short' end as agrees
          from sluice.tasks, lateral (select status = any($2) as ended) terminal where task_id = $1`,
        [task, taskStatuses.filter(isTerminal)],
      )
      // What the projection derives from the status follows it in every move.
      return rows[0]?.agrees ? rows[0].status : 'disagrees'
    } catch (error) {
      return error instanceof Error && 'code' in error ? String(error.code) : String(error)
    } finally {
      await client.query('rollback')
    }
  }
})

const attemptOf = ({ status }: { status: string }): number =>
  ['AWAITING_APPROVAL', 'SCHEDULED', 'PENDING'].includes(status) ? 0 : 1

const pathTo: Readonly<Record<string, { first: string; then: readonly [string, Writer][] }>> = {
  AWAITING_APPROVAL: { first: 'AWAITING_APPROVAL', then: [] },
  SCHEDULED: { first: 'SCHEDULED', then: [] },
  PENDING: { first: 'PENDING', then: [] },
  RUNNING: { first: 'PENDING', then: [['task.started', 'sluice_worker']] },
  WAITING: {
    first: 'PENDING',
    then: [
      ['task.started', 'sluice_worker'],
      ['task.waiting', 'sluice_worker'],
    ],
  },
  RETRYING: {
    first: 'PENDING',
    then: [
      ['task.started', 'sluice_worker'],
      ['task.retrying', 'sluice_worker'],
    ],
  },
  COMPLETED: {
    first: 'PENDING',
    then: [
      ['task.started', 'sluice_worker'],
      ['task.completed', 'sluice_worker'],
    ],
  },
  FAILED: {
    first: 'PENDING',
    then: [
      ['task.started', 'sluice_worker'],
      ['task.failed', 'sluice_worker'],
    ],
  },
  TIMED_OUT: {
    first: 'PENDING',
    then: [
      ['task.started', 'sluice_worker'],
      ['task.timed_out', 'sluice_worker'],
    ],
  },
  CANCELLED: { first: 'PENDING', then: [['task.cancelled', 'sluice_api']] },
  REJECTED: { first: 'AWAITING_APPROVAL', then: [['task.rejected', 'sluice_api']] },
  EXPIRED: { first: 'AWAITING_APPROVAL', then: [['task.expired', 'sluice_worker']] },
}

async function bringTo(client: Client, task: string, status: string): Promise<void> {
  const path = pathTo[status]
  if (!path) throw new Error(`no path to ${status}`)
  const payload = {
    input: {},
    input_hash: 'h',
    class: 'short',
    unique_key: 'k',
    status: path.first,
    labels: {},
    timeout_ms: 1000,
    max_attempts: 3,
  }
  await client.query(`set local role sluice_api`)
  await client.query(`select * from sluice.accept_tasks($1)`, [
    JSON.stringify([
      {
        idx: 0,
        task_id: task,
        event_id: randomUUID(),
        tenant: 'default',
        actor: 'a',
        operation: 'o',
        target: 'c:g/Kind//n',
        payload,
        request_hash: 'r',
      },
    ]),
  ])
  let attempt = 0
  for (const [type, writer] of path.then) {
    await append(client, { task, type, writer, attempt })
    if (type === 'task.started') attempt = 1
  }
}

async function append(
  client: Client,
  event: { task: string; type: string; writer: Writer; attempt: number },
): Promise<void> {
  await client.query(`set local role ${event.writer}`)
  await client.query(`select set_config('sluice.tenant', 'default', true)`)
  const data = JSON.stringify({
    ...(event.writer === 'sluice_worker' &&
      event.type !== 'task.started' &&
      event.attempt > 0 && { attempt: event.attempt }),
    // A claim later than the one that made the current attempt.
    ...(event.type === 'task.started' && { claim: event.attempt + 1 }),
    ...(event.type === 'task.retrying' && { retry_in_ms: 0, burned: true }),
  })
  // The API's role has one way in; the worker's inserts.
  if (event.writer === 'sluice_api') {
    await client.query(`select * from sluice.append_event($1, $2, 'someone', $3)`, [event.task, event.type, data])
  } else {
    await client.query(
      `insert into sluice.domain_events (task_id, tenant_id, type, actor, payload) values ($1, 'default', $2, 'w', $3)`,
      [event.task, event.type, data],
    )
  }
  await client.query('reset role')
}
