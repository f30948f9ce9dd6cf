import { toWireId } from '../contract/ids.ts'
import type { Database } from '../database/database.ts'
import type { Instruments } from '../metrics/instruments.ts'
import { withLogFields } from '../platform/log-context.ts'
import type { Logger } from '../platform/logger.ts'
import type { Span, Tracer } from '../platform/tracer.ts'
import { type ClaimedJob, LostClaimError, type Queue } from '../queue/queue.ts'
import type { Mailer } from './mailer.ts'
import { titleOf } from './notification-title.ts'
import { postWebhook, type WebhookRequest } from './post-webhook.ts'
import { RefusedAddressError } from '../platform/public-address.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import { openWebhookField } from './sealed-webhook.ts'
import { signWebhook } from './sign-webhook.ts'
import {
  type DeliveryRow,
  type DeliveryTry,
  disableWebhook,
  failAbandoned,
  type FoundDelivery,
  recordTry,
  selectDelivery,
  takeUndispatched,
  type WebhookRow,
} from './webhooks.sql.ts'

export interface DeliverOptions extends Pick<WebhookRequest, 'resolve' | 'mayReach'> {
  readonly database: Database
  readonly queue: Queue
  readonly logger: Logger
  readonly tracer: Tracer
  /** @default nobody counts */
  readonly instruments?: Instruments
  readonly secrets: SecretBox | undefined
  readonly mailer?: Mailer | undefined
  /** Milliseconds before each further try. @default 5 s to 10 h, over a day in all */
  readonly retryMs?: readonly number[]
  /** For the jitter: from 0 up to, not including, 1. */
  readonly random: () => number
}

const minute = 60_000
/** 5 s · 5 min · 30 min · 2 h · 5 h · 10 h · 10 h: 27.6 h, as Standard Webhooks recommends. */
const retryScheduleMs = [5_000, 5 * minute, 30 * minute, 120 * minute, 300 * minute, 600 * minute, 600 * minute]

export const deliveryJob = (deliveryId: string) => ({
  id: deliveryId,
  eventId: deliveryId,
  maxAttempts: retryScheduleMs.length + 1,
  expireInMs: 120_000,
})

/** Makes deliveries, and their jobs, for notifications that have none yet. Any worker may, at any time. */
export async function dispatchNotifications({
  database,
  queue,
}: Pick<DeliverOptions, 'database' | 'queue'>): Promise<number> {
  return database.transaction({ role: 'sluice_worker' }, async (tx) => {
    const ids = await takeUndispatched(tx)
    if (ids.length > 0) await queue.insert(tx, 'sluice-deliver', ids.map(deliveryJob))
    return ids.length
  })
}

/** Ends what the engine gave up on. */
export async function endAbandonedDeliveries(
  { database }: Pick<DeliverOptions, 'database'>,
  jobs: readonly ClaimedJob[],
): Promise<void> {
  const ids = jobs.flatMap(({ sourceId }) => (sourceId === undefined ? [] : [sourceId]))
  await database.transaction({ role: 'sluice_worker' }, (tx) => failAbandoned(tx, ids))
}

/** Sends messages; each is settled on its own. Returns the jobs that could not be settled. */
export async function deliver(options: DeliverOptions, jobs: readonly ClaimedJob[]): Promise<readonly string[]> {
  const again: string[] = []
  for (const job of jobs) {
    const settled = await deliverOne(options, job).catch((error: unknown) => isNotOurs(options, job, error))
    if (!settled) again.push(job.id)
  }
  return again
}

/** Whether somebody else settles it; else it could not be settled. */
function isNotOurs({ logger }: DeliverOptions, job: ClaimedJob, error: unknown): boolean {
  if (error instanceof LostClaimError) return true
  logger.error('a delivery could not be recorded; it will be tried again', { jobId: job.id, error })
  return false
}

async function deliverOne(options: DeliverOptions, job: ClaimedJob): Promise<boolean> {
  const { database } = options
  const found = await database.transaction({ role: 'sluice_worker' }, (tx) => selectDelivery(tx, job.id))
  if (!found || found.delivery.state !== 'pending') {
    await database.transaction({ role: 'sluice_worker' }, (tx) => options.queue.complete(tx, 'sluice-deliver', [job]))
    return true
  }
  const { taskId, traceparent, webhook } = found
  const id = taskId === null ? undefined : toWireId('task', taskId)
  const send = async (span: Span): Promise<boolean> => {
    try {
      await sendAndSettle(options, job, { ...found, span })
      return true
    } catch (error) {
      span.recordError(error)
      return isNotOurs(options, job, error)
    }
  }
  return withLogFields(id === undefined ? {} : { taskId: id }, () =>
    options.tracer.withSpan(`deliver ${webhook.style}`, send, {
      kind: 'client',
      attributes: {
        'sluice.delivery.id': toWireId('delivery', job.id),
        ...(id !== undefined && { 'sluice.task.id': id }),
      },
      ...(traceparent !== null && { parent: traceparent }),
    }),
  )
}

async function sendAndSettle(
  options: DeliverOptions,
  job: ClaimedJob,
  { delivery, webhook, span }: FoundDelivery & { readonly span: Span },
): Promise<void> {
  const gone = webhook.deleted_at !== null || webhook.disabled_at !== null
  const made = gone
    ? failedTry('The webhook is disabled or deleted.', true)
    : await send(options, job, { delivery, webhook })
  const { outcome } = made
  span.setAttributes({ 'sluice.outcome': outcome })
  options.instruments?.delivered({ style: webhook.style, outcome })
  if (made.made.error !== null) span.recordError(made.made.error)
  options.logger.debug('delivery tried', { deliveryId: toWireId('delivery', job.id), outcome, error: made.made.error })
  await settle(options, job, { delivery, webhook, made })
}

interface Made {
  readonly made: DeliveryTry
  readonly outcome: 'delivered' | 'again' | 'never' | 'gone'
}

interface Target {
  readonly delivery: DeliveryRow
  readonly webhook: WebhookRow
}

async function send(options: DeliverOptions, job: ClaimedJob, { delivery, webhook }: Target): Promise<Made> {
  const began = performance.now()
  const at = new Date()
  const record = (status: number | null, error: string | null): DeliveryTry => ({
    at: at.toISOString(),
    status,
    error,
    duration_ms: Math.round(performance.now() - began),
  })
  try {
    if (webhook.style === 'email') {
      await sendMail(options, { delivery, webhook })
      return { made: record(null, null), outcome: 'delivered' }
    }
    const { url, headers, body } = prepare(options, { delivery, webhook, at })
    const traceparent = options.tracer.currentTraceparent()
    const status = await postWebhook({
      ...options,
      url,
      headers: { ...headers, ...(traceparent !== undefined && { traceparent }) },
      body,
      signal: job.signal,
    })
    if (status >= 200 && status < 300) return { made: record(status, null), outcome: 'delivered' }
    const error = `Answered ${status}${status >= 300 && status < 400 ? '; redirects are not followed' : ''}.`
    return { made: record(status, error), outcome: status === 410 ? 'gone' : 'again' }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return { made: record(null, text), outcome: error instanceof RefusedAddressError ? 'never' : 'again' }
  }
}

async function sendMail({ mailer }: DeliverOptions, { delivery, webhook }: Target): Promise<void> {
  if (!mailer) throw new Error('no mail server is configured here')
  const { type, data } = delivery.body
  const subject = titleOf(type, data)
  const about = ['operation', 'target', 'task', 'ticket', 'detail', 'comment', 'explain']
  const lines = about.flatMap((key) => (typeof data[key] === 'string' ? [`${key}: ${data[key]}`] : []))
  await mailer.send({
    to: webhook.url.replace(/^mailto:/, ''),
    subject: `[Sluice] ${subject}`,
    text: [`${subject}.`, '', ...lines, ''].join('\n'),
    messageId: `<${delivery.delivery_id}@sluice>`,
  })
}

const failedTry = (error: string, never: boolean): Made => ({
  made: { at: new Date().toISOString(), status: null, error, duration_ms: 0 },
  outcome: never ? 'never' : 'again',
})

function prepare({ secrets }: DeliverOptions, { delivery, webhook, at }: Target & { readonly at: Date }) {
  if (!secrets) throw new Error('no key for secrets is configured here')
  if (webhook.style === 'slack') {
    const { type, data } = delivery.body
    const body = JSON.stringify({ text: titleOf(type, data) })
    return { url: openWebhookField(secrets, webhook.url, webhook, 'url'), headers: {}, body }
  }
  const previousHolds = webhook.previous_until !== null && webhook.previous_until > at
  const sealed = [webhook.sealed_secret, previousHolds ? webhook.sealed_previous_secret : null]
  const keys = sealed.flatMap((text) => (text === null ? [] : [openWebhookField(secrets, text, webhook, 'secret')]))
  const body = JSON.stringify(delivery.body)
  // A try again has the id of the first: receivers know what they have had.
  const message = { id: `msg_${delivery.delivery_id}`, timestamp: Math.floor(at.getTime() / 1000), body }
  return { url: webhook.url, headers: signWebhook(message, keys), body }
}

async function settle(
  options: DeliverOptions,
  job: ClaimedJob,
  { delivery, webhook, made: { made, outcome } }: Target & { readonly made: Made },
): Promise<void> {
  const { database, queue, retryMs = retryScheduleMs, random } = options
  const waitMs = retryMs[delivery.tries.length]
  await database.transaction({ role: 'sluice_worker' }, async (tx) => {
    const id = delivery.delivery_id
    if (outcome === 'delivered') {
      await recordTry(tx, id, { made, state: 'delivered' })
      return queue.complete(tx, 'sluice-deliver', [job])
    }
    if (outcome === 'again' && waitMs !== undefined) {
      await recordTry(tx, id, { made, state: 'pending' })
      // A fifth up or down: receivers that come back are not hit by all at once.
      const retryInMs = waitMs * (0.8 + 0.4 * random())
      return queue.retry(tx, 'sluice-deliver', job, { retryInMs, burn: true })
    }
    await recordTry(tx, id, { made, state: 'failed' })
    if (outcome === 'gone') await disableWebhook(tx, webhook.webhook_id, 'The receiver answered 410 Gone.')
    return queue.cancelClaimed(tx, 'sluice-deliver', job)
  })
}
