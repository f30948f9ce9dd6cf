import type { Db, DbTransaction } from './db.ts'
import type { EventEnvelope } from './event-envelope.ts'
import { forgetConsumed, rememberConsumed } from './consumed-events.sql.ts'
import { createPlatformTables } from './platform-schema.sql.ts'
import { requireDuration } from './platform-error.ts'
import type { Delivery, EventHandler } from './pub-sub.ts'

export interface IdempotentConsumerOptions {
  readonly db: Db
  /** Whose effects these are; the same in every process of one consumer. Two consumers with different names both get the event. */
  readonly consumer: string
}

/** What changes through `tx` happens exactly once; whatever else it does may happen again. */
export type TransactionalEventHandler = (event: EventEnvelope, tx: DbTransaction, delivery: Delivery) => Promise<void>

/**
 * Makes a handler of events that come at least once do its work in the database exactly once: the idempotency key is
 * remembered in the transaction of the work. An event that was handled before is settled without calling `handler`.
 */
export function idempotentConsumer(
  options: IdempotentConsumerOptions,
  handler: TransactionalEventHandler,
): EventHandler {
  const { db, consumer } = options
  let tables: Promise<void> | undefined
  return async (event, delivery) => {
    tables ??= createPlatformTables(db)
    await tables.catch((error: unknown) => {
      tables = undefined
      throw error
    })
    await db.withTx(async (tx) => {
      if (await rememberConsumed(tx, consumer, event.idempotencykey)) await handler(event, tx, delivery)
    })
  }
}

/**
 * Forgets the keys of events that were handled longer ago than `olderThanMs` milliseconds; choose more than the longest
 * time after which an event can still come again. Returns how many.
 */
export async function forgetConsumedEvents(db: Db, olderThanMs: number): Promise<number> {
  requireDuration('olderThanMs', olderThanMs)
  await createPlatformTables(db)
  return forgetConsumed(db, olderThanMs)
}
