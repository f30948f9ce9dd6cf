import type { Notification, NotificationKind } from '../contract/notification.ts'
import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'
import {
  concerns,
  deleteOld,
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

/** Removes what is too old, a batch at a time. Returns how many there were. */
export function deleteOldNotifications(database: Database): Promise<number> {
  return database.transaction({ role: 'sluice_worker' }, (tx) => deleteOld(tx, keptDays))
}

function bound<T>(database: Database, reader: Reader, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return database.transaction({ role: 'sluice_api', tenant: reader.tenant }, work)
}

function toNotification(row: NotificationRow): Notification {
  const { ticket, task, ...data } = row.data
  return {
    notification_id: toWireId('notification', row.notification_id),
    seq: row.seq,
    kind: row.kind,
    title: titleOf(row.kind, row.data),
    task_id: wireId('task', row.task_id ?? task),
    ticket_id: wireId('ticket', ticket),
    data,
    read: row.read,
    created_at: row.created_at.toISOString(),
  }
}

// Events name both in the form that travels; the projection holds plain UUIDs.
function wireId(prefix: 'task' | 'ticket', id: unknown): string | null {
  if (typeof id !== 'string') return null
  return id.startsWith(`${prefix}_`) ? id : toWireId(prefix, id)
}

/** `project.create of acme was approved by anna`. */
export function titleOf(kind: NotificationKind, data: Readonly<Record<string, unknown>>): string {
  const text = (key: string, otherwise: string) => (typeof data[key] === 'string' ? data[key] : otherwise)
  const target = text('target', '')
  const name = target === '' ? '' : ` of ${target.slice(target.lastIndexOf('/') + 1)}`
  const what = `${text('operation', 'A change')}${name}`
  switch (kind) {
    case 'approval_pending':
      return `${what} waits for your approval, asked for by ${text('actor', 'somebody')}`
    case 'approval_decided':
      return `${what} was ${data['event'] === 'task.approved' ? 'approved' : 'rejected'} by ${text('actor', 'somebody')}`
    case 'approval_expired':
      return `${what} expired: nobody decided in time`
    case 'approval_changed':
      return `${what} meets another rule since the policy changed: decisions so far count no more`
    case 'task_ended':
      return `${what} is ${text('status', 'ended')}`
    case 'batch_ended':
      return `A batch is ${text('status', 'ended')}`
    case 'dead_letter':
      return `${what} used up its attempts and is a dead letter`
  }
}
