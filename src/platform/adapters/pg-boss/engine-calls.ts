import type { Db as EngineDb } from 'pg-boss'
import type { DbSession } from '../../db.ts'
import type { EventEnvelope } from '../../event-envelope.ts'

/** The caller's transaction, as the engine wants it. */
export function inTransaction(tx: Pick<DbSession, 'query'>): EngineDb {
  return { executeSql: async (text, values) => ({ rows: await tx.query(text, values) }) }
}

/** Whether a call changed exactly one job. The engine's typings declare the answer without the field it has. */
export function isOne(response: object): boolean {
  return 'affected' in response && response.affected === 1
}

/** The engine orders by this key, so every event has one: its own where the publisher gave none. */
export function keyOf(event: EventEnvelope): string {
  return event.partitionkey === undefined ? `event:${event.id}` : `key:${event.partitionkey}`
}
