import { sql } from 'kysely'
import type { NotificationKind } from '../contract/notification.ts'
import type { Transaction } from '../database/database.ts'
import type { Audience } from './audience.ts'

/** Who reads, in one tenant. */
export interface Reader {
  readonly tenant: string
  readonly name: string
  /** What they hear of. */
  readonly audiences: readonly Audience[]
}

export interface InboxQuery {
  readonly unread: boolean
  /** Sequence number; older ones follow. */
  readonly before?: string | undefined
  readonly limit: number
}

export interface NotificationRow {
  readonly notification_id: string
  readonly seq: string
  readonly kind: NotificationKind
  readonly task_id: string | null
  readonly data: Record<string, unknown>
  readonly created_at: Date
  readonly read: boolean
}

/** Newest first. */
export async function selectNotifications(
  tx: Transaction,
  reader: Reader,
  query: InboxQuery,
): Promise<NotificationRow[]> {
  const { rows } = await sql<NotificationRow>`
    select * from (${mine(reader)}) n where (${query.before ?? null}::bigint is null or seq < ${query.before ?? null}::bigint)
      and (not ${query.unread} or not read)
    order by seq desc limit ${query.limit}`.execute(tx)
  return rows
}

/** Oldest first, at most 1,000. */
export async function selectNewNotifications(
  tx: Transaction,
  reader: Reader,
  range: { readonly after: bigint; readonly upTo: bigint },
): Promise<NotificationRow[]> {
  const { rows } = await sql<NotificationRow>`
    select * from (${mine(reader)}) n
    where seq > ${range.after.toString()}::bigint and seq <= ${range.upTo.toString()}::bigint
    order by seq limit 1000`.execute(tx)
  return rows
}

export async function selectUnreadCount(tx: Transaction, reader: Reader): Promise<number> {
  const { rows } = await sql<{ unread: number }>`
    select count(*)::int unread from (${mine(reader)}) n where not read`.execute(tx)
  return rows[0]?.unread ?? 0
}

/** Marks as read what of `ids`, or of everything, concerns the reader. Returns how many were not. */
export async function insertReads(tx: Transaction, reader: Reader, ids?: readonly string[]): Promise<number> {
  const { numAffectedRows = 0n } = await sql`
    insert into sluice.notification_reads (notification_id, tenant_id, principal)
    select notification_id, ${reader.tenant}, ${reader.name} from (${mine(reader)}) n
    where not read and (${ids ?? null}::uuid[] is null or notification_id = any(${ids ?? null}::uuid[]))
    on conflict do nothing`.execute(tx)
  return Number(numAffectedRows)
}

/** Whether a notification concerns the reader. */
export async function concerns(tx: Transaction, reader: Reader, id: string): Promise<boolean> {
  const { rows } = await sql`
    select from (${mine(reader)}) n where notification_id = ${id}::uuid`.execute(tx)
  return rows.length > 0
}

export async function selectMuted(tx: Transaction, reader: Reader): Promise<NotificationKind[]> {
  const { rows } = await sql<{ muted: NotificationKind[] }>`select muted from sluice.notification_preferences
    where tenant_id = ${reader.tenant} and principal = ${reader.name}`.execute(tx)
  return rows[0]?.muted ?? []
}

export async function upsertMuted(tx: Transaction, reader: Reader, muted: readonly NotificationKind[]): Promise<void> {
  await sql`insert into sluice.notification_preferences (tenant_id, principal, muted)
    values (${reader.tenant}, ${reader.name}, ${muted}::text[])
    on conflict (tenant_id, principal) do update set muted = excluded.muted`.execute(tx)
}

/** Removes notifications that are older than so many days, with their read marks. Returns how many there were. */
export async function deleteOldNotifications(tx: Transaction, { keptDays, atMost }: Upkeep): Promise<number> {
  const { numAffectedRows = 0n } = await sql`delete from sluice.notifications where ctid = any(array(
    select ctid from sluice.notifications where created_at < now() - make_interval(days => ${keptDays}::int)
    limit ${atMost}))`.execute(tx)
  return Number(numAffectedRows)
}

/** Removes deliveries that are older than so many days, but for those under way. Returns how many there were. */
export async function deleteOldDeliveries(tx: Transaction, { keptDays, atMost }: Upkeep): Promise<number> {
  const { numAffectedRows = 0n } = await sql`delete from sluice.deliveries where ctid = any(array(
    select ctid from sluice.deliveries where created_at < now() - make_interval(days => ${keptDays}::int)
      and state <> 'pending' limit ${atMost}))`.execute(tx)
  return Number(numAffectedRows)
}

interface Upkeep {
  readonly keptDays: number
  readonly atMost: number
}

function mine(reader: Reader) {
  return sql`
    select n.notification_id, n.seq, n.kind, n.task_id, n.data, n.created_at, exists (select from sluice.notification_reads r
      where r.principal = ${reader.name} and r.notification_id = n.notification_id) as read
    from sluice.notifications n
    where n.tenant_id = ${reader.tenant} and n.recipients && ${reader.audiences.map(({ recipient }) => recipient)}::text[]
      and exists (select from jsonb_to_recordset(${JSON.stringify(reader.audiences)}::jsonb)
          as a (recipient text, pending boolean, environments text[])
        where a.recipient = any(n.recipients) and a.pending = (n.kind in ('approval_pending', 'approval_changed'))
          and (a.environments is null or n.environment is null or n.environment = any(a.environments)))
      and not ${reader.name} = any(n.except_principals)
      and not exists (select from sluice.notification_preferences p
        where p.tenant_id = n.tenant_id and p.principal = ${reader.name} and n.kind = any(p.muted))`
}
