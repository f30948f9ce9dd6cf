import type { Notification, NotificationKind } from '../contract/notification.ts'
import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'
import { titleOf } from './notification-title.ts'
import {
  concerns,
  deleteOldDeliveries,
  deleteOldNotifications,
  type InboxQuery,
  insertReads,
  type NotificationRow,
  type Reader,
  selectMuted,
  selectNewNotifications,
  selectNotifications,
  selectUnreadCount,
  upsertMuted,
} from './inbox.sql.ts'

/** Newest first. */
export async function listNotifications(
  database: Database,
  reader: Reader,
  query: InboxQuery,
): Promise<Notification[]> {
  return (await bound(database, reader, (tx) => selectNotifications(tx, reader, query))).map(toNotification)
}

/** What came between two numbers of the log, oldest first, at most 1,000. */
export async function listNewNotifications(
  database: Database,
  reader: Reader,
  range: { readonly after: bigint; readonly upTo: bigint },
): Promise<Notification[]> {
  return (await bound(database, reader, (tx) => selectNewNotifications(tx, reader, range))).map(toNotification)
}

export function countUnread(database: Database, reader: Reader): Promise<number> {
  return bound(database, reader, (tx) => selectUnreadCount(tx, reader))
}

/** Marks one as read. False when the reader has none of this id. */
export function markRead(database: Database, reader: Reader, id: string): Promise<boolean> {
  return bound(database, reader, async (tx) => {
    await insertReads(tx, reader, [id])
    return concerns(tx, reader, id)
  })
}

/** Marks everything up to now as read. Returns how many were not. */
export function markAllRead(database: Database, reader: Reader): Promise<number> {
  return bound(database, reader, (tx) => insertReads(tx, reader))
}

export function readMuted(database: Database, reader: Reader): Promise<NotificationKind[]> {
  return bound(database, reader, (tx) => selectMuted(tx, reader))
}

export function writeMuted(database: Database, reader: Reader, muted: readonly NotificationKind[]): Promise<void> {
  return bound(database, reader, (tx) => upsertMuted(tx, reader, muted))
}

/** Days that a notification, and what became of its deliveries, is kept. */
const keptDays = 90

/** What one call removes at most: the next one comes a minute later, and nobody waits for this. */
const rounds = 20

/** Removes what is too old, a small transaction at a time. Returns how many notifications there were. */
export async function tidyInbox(database: Database, batchSize = 1_000): Promise<number> {
  const upkeep = { keptDays, atMost: batchSize }
  let removed = 0
  for (const remove of [deleteOldNotifications, deleteOldDeliveries]) {
    for (let round = 0; round < rounds; round++) {
      const gone = await database.transaction({ role: 'sluice_worker' }, (tx) => remove(tx, upkeep))
      if (remove === deleteOldNotifications) removed += gone
      if (gone < batchSize) break
    }
  }
  return removed
}

function bound<T>(database: Database, reader: Reader, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return database.transaction({ role: 'sluice_api', tenant: reader.tenant }, work)
}

function toNotification(row: NotificationRow): Notification {
  const { ticket, task, batch, ...data } = row.data
  return {
    notification_id: toWireId('notification', row.notification_id),
    seq: row.seq,
    kind: row.kind,
    title: titleOf(row.kind, row.data),
    task_id: wireId('task', row.task_id ?? task),
    ticket_id: wireId('ticket', ticket),
    batch_id: wireId('batch', batch),
    data,
    read: row.read,
    created_at: row.created_at.toISOString(),
  }
}

// Events name both in the form that travels; the projection holds plain UUIDs.
function wireId(prefix: 'task' | 'ticket' | 'batch', id: unknown): string | null {
  if (typeof id !== 'string') return null
  return id.startsWith(`${prefix}_`) ? id : toWireId(prefix, id)
}
