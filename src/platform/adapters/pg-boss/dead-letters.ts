import type { JobWithMetadata, PgBoss } from 'pg-boss'
import { v7 as uuidv7 } from 'uuid'
import type { Db } from '../../db.ts'
import { type EventEnvelope, eventEnvelopeSchema } from '../../event-envelope.ts'
import type { DeadLetter, SubscriptionRef } from '../../pub-sub.ts'
import { inTransaction, isOne, keyOf } from './engine-calls.ts'
import { queuesOf } from './subscription-queues.ts'

/** A dead letter as we store it. The engine's own copy, made after a crash, holds the bare event. */
export interface DeadLetterData {
  readonly event: EventEnvelope
  readonly attempts: number
  readonly error: string
}

export async function listDeadLetters(boss: PgBoss, ref: SubscriptionRef, limit: number): Promise<DeadLetter[]> {
  const { dead } = queuesOf(ref)
  if (!(await boss.getQueue(dead))) return []
  return (await boss.findJobs<DeadLetterData | EventEnvelope>(dead, { limit })).map(toDeadLetter)
}

interface Redrive {
  readonly ref: SubscriptionRef
  readonly eventIds: readonly string[] | undefined
}

/** Moves dead letters back to the end of their queue, each in a transaction with its removal. */
export async function redriveDeadLetters(boss: PgBoss, db: Db, { ref, eventIds }: Redrive): Promise<number> {
  const { queue, dead } = queuesOf(ref)
  if (!(await boss.getQueue(dead))) return 0
  let count = 0
  for (const job of await boss.findJobs<DeadLetterData | EventEnvelope>(dead, { limit: 100_000 })) {
    const { event } = toDeadLetter(job)
    if (eventIds && !eventIds.includes(event.id)) continue
    await db.withTx(async (tx) => {
      const engineDb = inTransaction(tx)
      const deleted = await boss.deleteJob(dead, job.id, { db: engineDb })
      // Somebody else moved it at the same moment.
      if (!isOne(deleted)) return
      await boss.insert(queue, [{ id: uuidv7(), data: event, singletonKey: keyOf(event) }], { db: engineDb })
      count++
    })
  }
  return count
}

function toDeadLetter(job: JobWithMetadata<DeadLetterData | EventEnvelope>): DeadLetter {
  if (!('specversion' in job.data)) return job.data
  return {
    event: eventEnvelopeSchema.parse(job.data),
    attempts: (job.sourceRetryCount ?? 0) + 1,
    error: describeOutput(job.sourceOutput),
  }
}

function describeOutput(output: object | null): string {
  return output === null ? 'unknown' : JSON.stringify(output)
}
