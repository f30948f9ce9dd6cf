import { v7 as uuidv7 } from 'uuid'
import type { NotificationKind } from '../contract/notification.ts'
import { appendNote } from '../database/append-note.sql.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { Queue } from '../queue/queue.ts'
import { deliveryJob } from './deliver.ts'
import { RefusedAddressError } from '../platform/public-address.ts'
import { parseWebhookUrl } from './webhook-url.ts'
import { NoSecretKeyError, type SecretBox } from '../platform/secret-box.ts'
import { openWebhookField, sealedWebhookFor } from './sealed-webhook.ts'
import { newWebhookSecret } from './sign-webhook.ts'
import {
  type DeliveryRow,
  insertReplay,
  insertWebhook,
  removeWebhook,
  selectDeliveries,
  selectDelivery,
  selectWebhooks,
  updateWebhook,
  type WebhookRow,
} from './webhooks.sql.ts'

export interface WebhooksOptions {
  readonly database: Database
  readonly queue: Queue
  /** Undefined: no key is configured, and there are no webhooks. */
  readonly secrets: SecretBox | undefined
  readonly mayReach?: (address: string) => boolean
  /** Whether a mail server is configured. */
  readonly mails?: boolean
}

/** Who changes what, in which tenant. */
export interface WebhookActor {
  readonly tenant: string
  readonly name: string
}

export interface WebhookWithSecret {
  readonly webhook: WebhookRow
  /** A new one, shown this once. */
  readonly secret: string | null
}

/** E-mail needs a server (SLUICE_SMTP_URL), and there is none. */
export class NoMailServerError extends Error {
  readonly code = 'no_mail_server'
}

/** A secret that was replaced signs along for a day. */
const rotationMs = 24 * 3_600_000

export function listWebhooks({ database }: WebhooksOptions, tenant: string): Promise<WebhookRow[]> {
  return database.transaction({ role: 'sluice_api', tenant }, (tx) => selectWebhooks(tx, tenant))
}

/** @throws RefusedAddressError, NoSecretKeyError */
export async function createWebhook(
  options: WebhooksOptions,
  { tenant, name }: WebhookActor,
  wanted: { readonly style: WebhookRow['style']; readonly url: string; readonly kinds: readonly NotificationKind[] },
): Promise<WebhookWithSecret> {
  const { style, kinds } = wanted
  const url = parseTarget(options, wanted)
  const id = uuidv7()
  const owner = { tenant_id: tenant, webhook_id: id }
  const { secret, sealed } = makeSecret(options, owner, style)
  return write(options, tenant, async (tx) => {
    await insertWebhook(tx, {
      webhook_id: id,
      tenant_id: tenant,
      style,
      url: sealUrl(options, owner, { style, url }),
      kinds: [...kinds],
      sealed_secret: sealed,
      created_by: name,
    })
    await appendNote(tx, {
      type: 'webhook.created',
      actor: name,
      data: { webhook: id, host: new URL(url).host, style, kinds },
    })
    return { webhook: await existing(tx, tenant, id), secret }
  })
}

/** Undefined when the tenant has no such webhook. Another URL discards the secret: it belonged to the receiver before. */
export async function changeWebhook(
  options: WebhooksOptions,
  { tenant, name }: WebhookActor,
  change: {
    readonly id: string
    readonly url?: string | undefined
    readonly kinds?: readonly NotificationKind[] | undefined
    readonly enabled?: boolean | undefined
  },
): Promise<WebhookWithSecret | undefined> {
  return write(options, tenant, async (tx) => {
    const [row] = await selectWebhooks(tx, tenant, change.id)
    if (!row) return undefined
    const url = change.url === undefined ? undefined : parseTarget(options, { style: row.style, url: change.url })
    const moves = url !== undefined && url !== openUrl(options, row)
    const renewed = moves ? makeSecret(options, row, row.style) : undefined
    await updateWebhook(tx, {
      ...row,
      kinds: [...(change.kinds ?? row.kinds)],
      ...(moves && { url: sealUrl(options, row, { style: row.style, url }) }),
      ...(renewed && { sealed_secret: renewed.sealed, sealed_previous_secret: null, previous_until: null }),
      ...(change.enabled === true && { disabled_at: null, disabled_reason: null }),
      ...(change.enabled === false && { disabled_at: new Date(), disabled_reason: `Disabled by ${name}.` }),
    })
    const data = { webhook: row.webhook_id, url_changed: moves, kinds: change.kinds, enabled: change.enabled }
    await appendNote(tx, { type: 'webhook.changed', actor: name, data })
    return { webhook: await existing(tx, tenant, row.webhook_id), secret: renewed?.secret ?? null }
  })
}

/** A new secret; the one before signs along for a day, so that the receiver can change over. */
export async function rotateSecret(
  options: WebhooksOptions,
  { tenant, name }: WebhookActor,
  id: string,
): Promise<WebhookWithSecret | undefined> {
  return write(options, tenant, async (tx) => {
    const [row] = await selectWebhooks(tx, tenant, id)
    if (!row) return undefined
    const { secret, sealed } = makeSecret(options, row, row.style)
    await updateWebhook(tx, {
      ...row,
      sealed_secret: sealed,
      sealed_previous_secret: row.sealed_secret,
      previous_until: new Date(Date.now() + rotationMs),
    })
    await appendNote(tx, { type: 'webhook.rotated', actor: name, data: { webhook: id } })
    return { webhook: await existing(tx, tenant, id), secret }
  })
}

export function deleteWebhook(options: WebhooksOptions, { tenant, name }: WebhookActor, id: string): Promise<boolean> {
  return write(options, tenant, async (tx) => {
    const removed = await removeWebhook(tx, tenant, id)
    if (removed) await appendNote(tx, { type: 'webhook.deleted', actor: name, data: { webhook: id } })
    return removed
  })
}

/** Newest first; undefined when the tenant has no such webhook. */
export function listDeliveries(
  { database }: WebhooksOptions,
  tenant: string,
  { id, before, limit }: { readonly id: string; readonly before: Date | undefined; readonly limit: number },
): Promise<DeliveryRow[] | undefined> {
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const [webhook] = await selectWebhooks(tx, tenant, id)
    return webhook && selectDeliveries(tx, id, { before, limit })
  })
}

/** Sends a message once more, under a new id. Undefined when the webhook has no such delivery. */
export function replayDelivery(
  options: WebhooksOptions,
  { tenant, name }: WebhookActor,
  { id, deliveryId }: { readonly id: string; readonly deliveryId: string },
): Promise<DeliveryRow | undefined> {
  return write(options, tenant, async (tx) => {
    const found = await selectDelivery(tx, deliveryId)
    if (found?.webhook.webhook_id !== id || found.webhook.deleted_at !== null) return undefined
    const newId = uuidv7()
    await insertReplay(tx, newId, found.delivery)
    await options.queue.insert(tx, 'sluice-deliver', [deliveryJob(newId)])
    await appendNote(tx, { type: 'webhook.replayed', actor: name, data: { webhook: id, delivery: deliveryId } })
    return (await selectDelivery(tx, newId))?.delivery
  })
}

function write<T>({ database }: WebhooksOptions, tenant: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return database.transaction({ role: 'sluice_api', tenant }, work)
}

async function existing(tx: Transaction, tenant: string, id: string): Promise<WebhookRow> {
  const [row] = await selectWebhooks(tx, tenant, id)
  if (!row) throw new Error(`webhook ${id} is gone`)
  return row
}

/** A URL as its style asks for it. @throws RefusedAddressError, NoMailServerError */
function parseTarget(options: WebhooksOptions, { style, url }: Pick<WebhookRow, 'style' | 'url'>): string {
  if (style !== 'email') return parseWebhookUrl(url, options.mayReach).href
  if (!options.mails) throw new NoMailServerError('No mail server is configured: set SLUICE_SMTP_URL and restart.')
  const address = /^mailto:([^\s<>@,;:?&]{1,64}@[a-z0-9.-]{1,190})$/i.exec(url)?.[1]
  if (address === undefined) throw new RefusedAddressError('An e-mail target is one address: mailto:team@example.com.')
  return `mailto:${address}`
}

function box({ secrets }: Pick<WebhooksOptions, 'secrets'>): SecretBox {
  if (secrets) return secrets
  throw new NoSecretKeyError()
}

// The path of a Slack URL is its password, so that it has no other secret.
type Owner = Pick<WebhookRow, 'tenant_id' | 'webhook_id'>

function makeSecret(options: WebhooksOptions, owner: Owner, style: WebhookRow['style']) {
  if (style !== 'standard') return { secret: null, sealed: null }
  const secret = newWebhookSecret()
  return { secret, sealed: box(options).seal(secret, sealedWebhookFor(owner, 'secret')) }
}

function sealUrl(options: WebhooksOptions, owner: Owner, target: Pick<WebhookRow, 'style' | 'url'>): string {
  return target.style === 'slack' ? box(options).seal(target.url, sealedWebhookFor(owner, 'url')) : target.url
}

function openUrl(options: Pick<WebhooksOptions, 'secrets'>, row: WebhookRow): string {
  return row.style === 'slack' ? openWebhookField(box(options), row.url, row, 'url') : row.url
}

/** What may be shown of the URL. */
export function shownUrl(options: Pick<WebhooksOptions, 'secrets'>, row: WebhookRow): string {
  if (row.style !== 'slack') return row.url
  return options.secrets ? `${new URL(openUrl(options, row)).origin}/…` : '…'
}
