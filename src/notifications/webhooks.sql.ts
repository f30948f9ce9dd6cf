import { sql } from 'kysely'
import type { NotificationKind } from '../contract/notification.ts'
import type { Transaction } from '../database/database.ts'

export interface WebhookRow {
  readonly webhook_id: string
  readonly tenant_id: string
  readonly style: 'standard' | 'slack' | 'email'
  readonly url: string
  readonly kinds: NotificationKind[]
  readonly sealed_secret: string | null
  readonly sealed_previous_secret: string | null
  readonly previous_until: Date | null
  readonly disabled_at: Date | null
  readonly disabled_reason: string | null
  readonly created_by: string
  readonly created_at: Date
}

export interface DeliveryTry {
  readonly at: string
  readonly status: number | null
  readonly error: string | null
  readonly duration_ms: number
}

export interface DeliveryRow {
  readonly delivery_id: string
  readonly tenant_id: string
  readonly webhook_id: string
  readonly body: { readonly type: NotificationKind; readonly timestamp: string; readonly data: Record<string, unknown> }
  readonly state: 'pending' | 'delivered' | 'failed'
  readonly tries: DeliveryTry[]
  readonly replay_of: string | null
  readonly created_at: Date
  readonly ended_at: Date | null
}

export async function selectWebhooks(tx: Transaction, tenant: string, id?: string): Promise<WebhookRow[]> {
  const { rows } =
    await sql<WebhookRow>`select * from sluice.webhooks where tenant_id = ${tenant} and deleted_at is null
    and (${id ?? null}::uuid is null or webhook_id = ${id ?? null}::uuid) order by created_at, webhook_id`.execute(tx)
  return rows
}

export type NewWebhook = Pick<
  WebhookRow,
  'webhook_id' | 'tenant_id' | 'style' | 'url' | 'kinds' | 'sealed_secret' | 'created_by'
>

export async function insertWebhook(tx: Transaction, row: NewWebhook): Promise<void> {
  await sql`insert into sluice.webhooks (webhook_id, tenant_id, style, url, kinds, sealed_secret, created_by)
    values (${row.webhook_id}::uuid, ${row.tenant_id}, ${row.style}, ${row.url}, ${row.kinds}::text[], ${row.sealed_secret},
      ${row.created_by})`.execute(tx)
}

/** The row as it shall be: where it sends, what, with which secrets, and whether at all. */
export async function updateWebhook(
  tx: Transaction,
  row: Omit<WebhookRow, 'style' | 'created_by' | 'created_at'>,
): Promise<void> {
  await sql`update sluice.webhooks set url = ${row.url}, kinds = ${row.kinds}::text[], sealed_secret = ${row.sealed_secret},
      sealed_previous_secret = ${row.sealed_previous_secret}, previous_until = ${row.previous_until}::timestamptz,
      disabled_at = ${row.disabled_at}::timestamptz, disabled_reason = ${row.disabled_reason}
    where tenant_id = ${row.tenant_id} and webhook_id = ${row.webhook_id}::uuid and deleted_at is null`.execute(tx)
}

/** Keeps the row for its deliveries, without its secrets. */
export async function removeWebhook(tx: Transaction, tenant: string, id: string): Promise<boolean> {
  const { numAffectedRows = 0n } = await sql`update sluice.webhooks set deleted_at = clock_timestamp(),
      sealed_secret = null, sealed_previous_secret = null
    where tenant_id = ${tenant} and webhook_id = ${id}::uuid and deleted_at is null`.execute(tx)
  return numAffectedRows === 1n
}

export async function disableWebhook(tx: Transaction, id: string, reason: string): Promise<void> {
  await sql`update sluice.webhooks set disabled_at = clock_timestamp(), disabled_reason = ${reason}
    where webhook_id = ${id}::uuid and disabled_at is null`.execute(tx)
}

/**
 * Makes a delivery for each new notification and each webhook that wants its kind. Whoever comes second finds them
 * taken. Returns the new deliveries.
 */
export async function takeUndispatched(tx: Transaction): Promise<string[]> {
  const { rows } = await sql<{ delivery_id: string }>`
    with taken as (
      update sluice.notifications set dispatched_at = clock_timestamp()
      where dispatched_at is null and notification_id = any(array(
        select notification_id from sluice.notifications where dispatched_at is null order by seq limit 200))
      returning *)
    insert into sluice.deliveries (delivery_id, tenant_id, webhook_id, notification_id, body)
    select gen_random_uuid(), n.tenant_id, w.webhook_id, n.notification_id,
      jsonb_build_object('type', n.kind, 'timestamp', n.created_at, 'data', n.data)
    from taken n join sluice.webhooks w on w.tenant_id = n.tenant_id and w.deleted_at is null and w.disabled_at is null
      and n.kind = any(w.kinds)
    returning delivery_id`.execute(tx)
  return rows.map((row) => row.delivery_id)
}

export interface FoundDelivery {
  readonly delivery: DeliveryRow
  readonly webhook: WebhookRow & { readonly deleted_at: Date | null }
  /** The task that it tells of, and the W3C trace context of its request. */
  readonly taskId: string | null
  readonly traceparent: string | null
}

/** A delivery and the webhook that it goes to, as both are now. */
export async function selectDelivery(tx: Transaction, id: string): Promise<FoundDelivery | undefined> {
  const deliveries = await sql<DeliveryRow & Pick<FoundDelivery, 'taskId' | 'traceparent'>>`
    select d.*, t.task_id as "taskId", e.payload->>'traceparent' as traceparent from sluice.deliveries d
    left join sluice.notifications n on n.notification_id = d.notification_id
    left join sluice.tasks t on t.task_id = n.task_id
    left join sluice.domain_events e on e.task_id = t.task_id and e.event_id = t.request_event_id and e.at = t.created_at
    where d.delivery_id = ${id}::uuid`.execute(tx)
  const [delivery] = deliveries.rows
  if (!delivery) return undefined
  const webhooks = await sql<WebhookRow & { deleted_at: Date | null }>`
    select * from sluice.webhooks where webhook_id = ${delivery.webhook_id}::uuid`.execute(tx)
  const [webhook] = webhooks.rows
  return webhook && { delivery, webhook, taskId: delivery.taskId, traceparent: delivery.traceparent }
}

/** Newest first. */
export async function selectDeliveries(
  tx: Transaction,
  webhookId: string,
  page: { readonly before: Date | undefined; readonly limit: number },
): Promise<DeliveryRow[]> {
  const { rows } = await sql<DeliveryRow>`select * from sluice.deliveries where webhook_id = ${webhookId}::uuid
      and (${page.before ?? null}::timestamptz is null or created_at < ${page.before ?? null}::timestamptz)
    order by created_at desc, delivery_id limit ${page.limit}`.execute(tx)
  return rows
}

export async function recordTry(
  tx: Transaction,
  id: string,
  { made, state }: { readonly made: DeliveryTry; readonly state: DeliveryRow['state'] },
): Promise<void> {
  await sql`update sluice.deliveries set tries = tries || ${JSON.stringify([made])}::jsonb, state = ${state},
      ended_at = case when ${state} = 'pending' then null else clock_timestamp() end
    where delivery_id = ${id}::uuid`.execute(tx)
}

/** Ends deliveries whose jobs the engine gave up on: their workers died, again and again. */
export async function failAbandoned(tx: Transaction, ids: readonly string[]): Promise<void> {
  await sql`update sluice.deliveries set state = 'failed', ended_at = clock_timestamp()
    where delivery_id = any(${ids}::uuid[]) and state = 'pending'`.execute(tx)
}

/** The same message once more. */
export async function insertReplay(tx: Transaction, newId: string, of: DeliveryRow): Promise<void> {
  await sql`insert into sluice.deliveries (delivery_id, tenant_id, webhook_id, notification_id, body, replay_of)
    select ${newId}::uuid, tenant_id, webhook_id, notification_id, body, delivery_id from sluice.deliveries
    where delivery_id = ${of.delivery_id}::uuid`.execute(tx)
}
