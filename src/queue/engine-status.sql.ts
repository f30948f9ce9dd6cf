import type { Pool } from 'pg'
import { engineSchema } from './engine-schema.ts'
import { type QueueDepth, type QueueGauge, type QueueName, queueNames } from './queue.ts'

/** Which of these jobs the engine has given up on. */
export async function listGivenUp(pool: Pool, queue: QueueName, ids: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select id from ${engineSchema}.job where name = $1 and id = any($2::uuid[]) and state = 'failed'`,
    [queue, ids],
  )
  return rows.map((row) => row.id)
}

/** How many jobs wait and run, per queue; queues without any included. */
export async function readDepths(pool: Pool): Promise<QueueDepth[]> {
  const { rows } = await pool.query<QueueDepth>(
    `select name as queue,
       count(*) filter (where state < 'active' and start_after <= now())::int as ready,
       count(*) filter (where state < 'active' and start_after > now())::int as scheduled,
       count(*) filter (where state = 'active')::int as active
     from ${engineSchema}.job where name = any($1) and state <= 'active' group by name`,
    [queueNames],
  )
  return queueNames.map(
    (queue) => rows.find((row) => row.queue === queue) ?? { queue, ready: 0, scheduled: 0, active: 0 },
  )
}

export interface DueJobs {
  readonly queue: QueueName
  readonly due: number
  /** How long the one that waits longest has been due. */
  readonly oldestS: number
}

/** Jobs that a worker could take now, per queue; queues without any are left out. */
export async function readDueJobs(pool: Pool): Promise<DueJobs[]> {
  const { rows } = await pool.query<DueJobs>(
    `select name as queue, count(*)::int as due,
       extract(epoch from now() - min(greatest(start_after, created_on)))::float8 as "oldestS"
     from ${engineSchema}.job where name = any($1) and state < 'active' and start_after <= now() group by name order by name`,
    [queueNames],
  )
  return rows
}

/**
 * What the engine counted when it last looked (every 5 s), and the oldest due job, which two look-ups in an index find:
 * nothing here grows with the queue.
 */
export async function readGauges(pool: Pool): Promise<QueueGauge[]> {
  const oldest = (state: 'created' | 'retry') => `(select j.start_after from ${engineSchema}.job j
    where j.name = q.name and j.state = '${state}' and not j.blocked order by j.start_after limit 1)`
  const { rows } = await pool.query<QueueGauge>(
    `select q.name as queue, q.ready_count as ready, q.deferred_count as scheduled, q.active_count as active,
       q.failed_count as failed, coalesce(greatest(extract(epoch from
         now() - least(${oldest('created')}, ${oldest('retry')})), 0), 0)::float8 as "oldestS"
     from ${engineSchema}.queue q where q.name = any($1) order by q.name`,
    [queueNames],
  )
  return rows
}
