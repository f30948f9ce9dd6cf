import { sql } from 'kysely'
import type { Notification, NotificationKind } from '../contract/notification.ts'
import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'

/** Who reads: themselves, and everybody of their roles and groups, in one tenant. */
export interface Reader {
  readonly tenant: string
  readonly name: string
  readonly roles: readonly string[]
  readonly groups?: readonly string[]
}

export interface InboxQuery {
  readonly unread: boolean
  /** Sequence number; older ones follow. */
  readonly before?: string | undefined
  readonly limit: number
}

interface NotificationRow {
  readonly notification_id: string
  readonly seq: string
  readonly kind: NotificationKind
  readonly task_id: string | null
  readonly data: Record<string, unknown>
  readonly created_at: Date
  readonly read: boolean
}

/** Newest first. */
export function listNotifications(database: Database, reader: Reader, query: InboxQuery): Promise<Notification[]> {
  return bound(database, reader, async (tx) => {
    const { rows } = await sql<NotificationRow>`
      select * from (${mine(reader)}) n where (${query.before ?? null}::bigint is null or seq < ${query.before ?? null}::bigint)
        and (not ${query.unread} or not read)
      order by seq desc limit ${query.limit}`.execute(tx)
    return rows.map(toNotification)
  })
}

/** What came between two numbers of the log, oldest first. */
export function listNewNotifications(
  database: Database,
  reader: Reader,
  range: { readonly after: bigint; readonly upTo: bigint },
): Promise<Notification[]> {
  return bound(database, reader, async (tx) => {
    const { rows } = await sql<NotificationRow>`
      select * from (${mine(reader)}) n
      where seq > ${range.after.toString()}::bigint and seq <= ${range.upTo.toString()}::bigint
      order by seq limit 1000`.execute(tx)
    return rows.map(toNotification)
  })
}

export function countUnread(database: Database, reader: Reader): Promise<number> {
  return bound(database, reader, async (tx) => {
    const { rows } = await sql<{ unread: number }>`
      select count(*)::int unread from (${mine(reader)}) n where not read`.execute(tx)
    return rows[0]?.unread ?? 0
  })
}

/** Marks as read what of `ids` concerns the reader. Returns how many of them do. */
export function markRead(database: Database, reader: Reader, ids: readonly string[]): Promise<number> {
  return bound(database, reader, async (tx) => {
    const { rows } = await sql<{ notification_id: string }>`
      select notification_id from (${mine(reader)}) n where notification_id = any(${ids}::uuid[])`.execute(tx)
    await insertReads(
      tx,
      reader,
      rows.map((row) => row.notification_id),
    )
    return rows.length
  })
}

/** Marks everything up to now as read. Returns how many were not. */
export function markAllRead(database: Database, reader: Reader): Promise<number> {
  return bound(database, reader, async (tx) => {
    const { rows } = await sql<{ notification_id: string }>`
      select notification_id from (${mine(reader)}) n where not read`.execute(tx)
    await insertReads(
      tx,
      reader,
      rows.map((row) => row.notification_id),
    )
    return rows.length
  })
}

export function readMuted(database: Database, reader: Reader): Promise<NotificationKind[]> {
  return bound(database, reader, async (tx) => {
    const { rows } = await sql<{ muted: NotificationKind[] }>`select muted from sluice.notification_preferences
      where tenant_id = ${reader.tenant} and principal = ${reader.name}`.execute(tx)
    return rows[0]?.muted ?? []
  })
}

export function writeMuted(database: Database, reader: Reader, muted: readonly NotificationKind[]): Promise<void> {
  return bound(database, reader, async (tx) => {
    await sql`insert into sluice.notification_preferences (tenant_id, principal, muted)
      values (${reader.tenant}, ${reader.name}, ${muted}::text[])
      on conflict (tenant_id, principal) do update set muted = excluded.muted`.execute(tx)
  })
}

/** Days that a notification, and what became of its deliveries, is kept. */
const keptDays = 90

/** Removes what is too old, a batch at a time. Returns how many there were. */
export async function deleteOldNotifications(database: Database): Promise<number> {
  return database.transaction({ role: 'sluice_worker' }, async (tx) => {
    const { numAffectedRows = 0n } = await sql`delete from sluice.notifications where ctid = any(array(
      select ctid from sluice.notifications where created_at < now() - make_interval(days => ${keptDays}::int) limit 1000))`.execute(
      tx,
    )
    await sql`delete from sluice.deliveries where ctid = any(array(select ctid from sluice.deliveries
      where created_at < now() - make_interval(days => ${keptDays}::int) and state <> 'pending' limit 1000))`.execute(
      tx,
    )
    return Number(numAffectedRows)
  })
}

function bound<T>(database: Database, reader: Reader, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return database.transaction({ role: 'sluice_api', tenant: reader.tenant }, work)
}

function mine(reader: Reader) {
  return sql`
    select n.notification_id, n.seq, n.kind, n.task_id, n.data, n.created_at, exists (select from sluice.notification_reads r
      where r.principal = ${reader.name} and r.notification_id = n.notification_id) as read
    from sluice.notifications n
    where n.tenant_id = ${reader.tenant} and n.recipients && ${audience(reader)}::text[]
      and not ${reader.name} = any(n.except_principals)
      and not exists (select from sluice.notification_preferences p
        where p.tenant_id = n.tenant_id and p.principal = ${reader.name} and n.kind = any(p.muted))`
}

function audience({ tenant, name, roles, groups = [] }: Reader): string[] {
  return [`principal:${name}`, ...roles.map((role) => `role:${role}`), ...groups.map((group) => `group:${group}`)].map(
    (recipient) => `${tenant}/${recipient}`,
  )
}

async function insertReads(tx: Transaction, reader: Reader, ids: readonly string[]): Promise<void> {
  await sql`insert into sluice.notification_reads (notification_id, tenant_id, principal)
    select id, ${reader.tenant}, ${reader.name} from unnest(${ids}::uuid[]) id on conflict do nothing`.execute(tx)
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
