import type { Pool } from 'pg'
import type { SignalListener } from '../database/signals.ts'
import type { NewEvent } from '../platform/event-envelope.ts'
import type { Logger } from '../platform/logger.ts'
import type { PubSub } from '../platform/pub-sub.ts'
import { readLowWater } from '../database/low-water.sql.ts'
import { type LoggedEvent, readEvents } from './feed.sql.ts'
import { advance, type Lease, readDropped, releaseLease, takeLease } from './publisher.sql.ts'
import { toWireEvent } from './wire-event.ts'

export interface EventPublisherOptions {
  readonly pool: Pool
  readonly listener: SignalListener
  readonly pubsub: PubSub
  readonly logger: Logger
  /** Who publishes: unique among processes. */
  readonly holder: string
  /** @default 'sluice.events' */
  readonly topic?: string
  /** Milliseconds between looks that no signal asked for. @default 1_000 */
  readonly pollMs?: number
  /** Milliseconds after which another process takes over from one that died. @default 15_000 */
  readonly leaseMs?: number
  /** Events per read. @default 500 */
  readonly pageSize?: number
}

/** Hands the log on to other programs. */
export interface EventPublisher {
  start(): Promise<void>
  stop(): Promise<void>
  /** Numbers of the log between what is published and what could be, at the last look of the process that publishes. */
  readonly behind: number
}

const defaultTopic = 'sluice.events'
/** Tasks whose events are on their way at once: each task's own go one after the other. Over PostgreSQL each takes two connections. */
const lanes = 4
/** Brokers refuse what is larger than they like. */
const largestData = 256 * 1024

/**
 * Publishes every event of the log, in order per task, at least once: from a durable cursor behind the low-water mark.
 * Any number of processes may do this; one at a time does, which holds a lease. What was published when it died, and
 * not noted yet, is published again under the same id, by which PubSub drops it.
 */
export function createEventPublisher(options: EventPublisherOptions): EventPublisher {
  const { pool, listener, logger, topic = defaultTopic, leaseMs = 15_000, pageSize = 500, pollMs = 1_000 } = options
  const lease: Lease = { name: topic, holder: options.holder, leaseMs }
  let from = 0n
  /** Up to where the log is published, while the lease is ours. */
  let cursor: bigint | undefined
  let heldUntil = 0
  let askAgainAt = 0
  let behind = 0
  let working: Promise<void> | undefined
  let again = false
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  /** By our own clock, from before the database was asked: never longer than the database counts it. */
  const isHeld = (): boolean => !stopped && performance.now() < heldUntil
  const hold = async (): Promise<bigint | undefined> => {
    const asked = performance.now()
    const held = await takeLease(pool, lease, from)
    heldUntil = held === undefined ? 0 : asked + leaseMs
    return held
  }

  /** While a page is on its way. A lease that somebody else had meanwhile, and gave back, is not the one that we had. */
  const renew = async (): Promise<void> => {
    if ((await hold()) !== cursor) heldUntil = 0
  }

  /** Whether the lease is ours, for a while. Whoever has it not asks now and then only. */
  const isOurs = async (): Promise<boolean> => {
    const now = performance.now()
    if (now < heldUntil - leaseMs / 2) return true
    if (cursor === undefined && now < askAgainAt) return false
    cursor = await hold()
    if (cursor === undefined) askAgainAt = now + pollMs
    else await noteLoss(options, cursor)
    return cursor !== undefined
  }

  const publishNew = async (): Promise<void> => {
    if (!(await isOurs())) return
    const upTo = await readLowWater(pool)
    while (cursor !== undefined && cursor < upTo && isHeld()) {
      behind = Number(upTo - cursor)
      const events = await readEvents(pool, { after: cursor, upTo, limit: pageSize })
      const last = events.length < pageSize ? upTo : (events.at(-1)?.seq ?? upTo)
      const { firstLeft, failure } = await publishPage(options, { topic, events, isHeld, renew, leaseMs })
      await moveTo(firstLeft === undefined ? last : firstLeft - 1n)
      if (failure !== undefined && !stopped) throw failure
    }
    behind = cursor === undefined ? 0 : Number(upTo - cursor)
  }
  const moveTo = async (to: bigint): Promise<void> => {
    if (cursor === undefined || to <= cursor) return
    const asked = performance.now()
    const moved = await advance(pool, lease, { from: cursor, to })
    cursor = moved ? to : undefined
    heldUntil = moved ? asked + leaseMs : 0
  }

  const look = (): void => {
    if (stopped) return
    if (working) {
      again = true
      return
    }
    working = publishNew()
      .catch((error: unknown) => logger.warn('events could not be published; trying again soon', { topic, error }))
      .finally(() => {
        working = undefined
        if (!again) return
        again = false
        look()
      })
  }

  return {
    get behind() {
      return behind
    },
    start: async () => {
      from = await readLowWater(pool)
      listener.on('events', look)
      timer = setInterval(look, pollMs)
      look()
    },
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await working
      if (heldUntil === 0) return
      await releaseLease(pool, lease).catch((error: unknown) =>
        logger.warn('the lease on publishing could not be given back; it ends by itself', { topic, error }),
      )
    },
  }
}

interface Page {
  readonly topic: string
  readonly events: readonly LoggedEvent[]
  readonly isHeld: () => boolean
  readonly renew: () => Promise<void>
  readonly leaseMs: number
}

interface Published {
  /** The number of the first event that is not published; undefined when the whole page is. */
  readonly firstLeft: bigint | undefined
  readonly failure: Error | undefined
}

async function publishPage({ pubsub }: EventPublisherOptions, page: Page): Promise<Published> {
  const { events, topic, isHeld } = page
  const open = new Set(events)
  const byKey = [...Map.groupBy(events, keyOf).values()]
  let failure: Error | undefined
  const publishAll = async (): Promise<void> => {
    for (let lane = byKey.shift(); lane; lane = byKey.shift()) {
      for (const event of lane) {
        if (failure !== undefined) return
        // Somebody else may publish by now. One that is on its way when the lease ends comes once more, by its id.
        if (!isHeld()) {
          failure = new LeaseLostError()
          return
        }
        await pubsub.publish(topic, toNewEvent(event))
        open.delete(event)
      }
    }
  }
  const heartbeat = setInterval(() => void page.renew().catch(() => undefined), page.leaseMs / 4)
  try {
    const runs = Array.from({ length: lanes }, () =>
      publishAll().catch((error: unknown) => {
        failure ??= error instanceof Error ? error : new Error(String(error))
      }),
    )
    await Promise.all(runs)
  } finally {
    clearInterval(heartbeat)
  }
  // In the order of the log, so the first that is left is the smallest.
  const first = events.find((event) => open.has(event))
  return { firstLeft: first?.seq, failure }
}

class LeaseLostError extends Error {
  readonly code = 'lease_lost'
  constructor() {
    super('The lease on publishing ended while a page was being published; whoever holds it now goes on.')
  }
}

/** Of one task in order; what is about no task, per tenant. */
const keyOf = (event: LoggedEvent): string => event.taskId ?? `tenant/${event.tenant}`

function toNewEvent(event: LoggedEvent): NewEvent {
  const wire = toWireEvent(event)
  const { traceparent } = event.payload
  const tooLarge = Buffer.byteLength(JSON.stringify(wire.data)) > largestData
  return {
    id: event.eventId,
    idempotencyKey: event.eventId,
    type: event.type,
    source: `/tenants/${event.tenant}`,
    ...(wire.task_id !== null && { subject: wire.task_id }),
    key: keyOf(event),
    time: event.at,
    ...(typeof traceparent === 'string' && { traceparent }),
    data: { ...wire, tenant: event.tenant, ...(tooLarge && { data: {}, truncated: true }) },
  }
}

async function noteLoss({ pool, logger, topic = defaultTopic }: EventPublisherOptions, cursor: bigint): Promise<void> {
  const dropped = await readDropped(pool)
  if (dropped <= cursor) return
  const detail = `published up to ${cursor}, dropped up to ${dropped}`
  logger.error('events were dropped by retention before they were published', { topic, detail })
}
