import type { Pool } from 'pg'
import { engineSchema } from './engine-schema.ts'
import { type QueueDepth, type QueueName, queueNames } from './queue.ts'

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
