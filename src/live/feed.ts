import type { Pool } from 'pg'
import { readLowWater } from '../database/low-water.sql.ts'
import type { SignalListener } from '../database/signals.ts'
import type { Instruments } from '../metrics/instruments.ts'
import type { Logger } from '../platform/logger.ts'
import { type LoggedEvent, readEvents } from './feed.sql.ts'

export interface FeedOptions {
  readonly pool: Pool
  readonly listener: SignalListener
  readonly logger: Logger
  /** @default nobody counts */
  readonly instruments?: Instruments
  /** Milliseconds between looks that no signal asked for. @default 1_000 */
  readonly pollMs?: number
  /** Events per read. @default 500 */
  readonly pageSize?: number
}

export interface Subscription {
  /** Exclusive; without it, from now on. */
  readonly after?: bigint
  readonly tenant: string
  readonly taskId?: string
  /** Called in order, never twice for an event. Must not block. */
  onEvent(event: LoggedEvent): void
  /** Called once, when the subscription has caught up: from here on events are live. */
  onReady?(cursor: bigint): void
  onError(error: unknown): void
}

/** The live feed: one reader of the log per process, and everybody who listens to it. */
export interface Feed {
  start(): Promise<void>
  /** Catches up from the cursor, then goes on live: nothing is missed and nothing comes twice. */
  subscribe(subscription: Subscription): () => void
  /** The number up to which the feed has read. */
  readonly cursor: bigint
  stop(): Promise<void>
}

export function createFeed(options: FeedOptions): Feed {
  const { pool, listener, logger } = options
  const pageSize = options.pageSize ?? 500
  const live = new Set<Subscription>()
  let cursor = 0n
  let reading: Promise<void> | undefined
  let readAgain = false
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const deliver = (subscription: Subscription, event: LoggedEvent): void => {
    if (subscription.tenant !== event.tenant) return
    if (subscription.taskId !== undefined && subscription.taskId !== event.taskId) return
    subscription.onEvent(event)
  }

  const readNew = async (): Promise<void> => {
    const upTo = await readLowWater(pool)
    while (cursor < upTo && !stopped) {
      const events = await readEvents(pool, { after: cursor, upTo, limit: pageSize })
      // From here to the new cursor nothing awaits: a subscription that joins sees either none or all of these.
      for (const event of events) for (const subscription of live) deliver(subscription, event)
      cursor = events.length < pageSize ? upTo : (events.at(-1)?.seq ?? upTo)
      // The oldest says how late the page is.
      if (events[0]) options.instruments?.fed({ seconds: (Date.now() - events[0].at.getTime()) / 1000 })
    }
  }

  const look = (): void => {
    if (stopped) return
    if (reading) {
      readAgain = true
      return
    }
    reading = readNew()
      .catch((error: unknown) => logger.warn('the log could not be read; reading again soon', { error }))
      .finally(() => {
        reading = undefined
        if (!readAgain) return
        readAgain = false
        look()
      })
  }

  const catchUp = async (subscription: Subscription, isOpen: () => boolean): Promise<void> => {
    let position = subscription.after ?? cursor
    while (isOpen()) {
      // Nothing awaits between this comparison and joining.
      if (position >= cursor) {
        live.add(subscription)
        subscription.onReady?.(cursor)
        return
      }
      const upTo = cursor
      const { tenant, taskId } = subscription
      const filter = { tenant, ...(taskId !== undefined && { taskId }) }
      const events = await readEvents(pool, { after: position, upTo, limit: pageSize, ...filter })
      for (const event of events) {
        if (!isOpen()) return
        subscription.onEvent(event)
      }
      position = events.length < pageSize ? upTo : (events.at(-1)?.seq ?? upTo)
    }
  }

  return {
    get cursor() {
      return cursor
    },
    start: async () => {
      cursor = await readLowWater(pool)
      listener.on('events', look)
      timer = setInterval(look, options.pollMs ?? 1_000)
    },
    subscribe: (subscription) => {
      let open = true
      catchUp(subscription, () => open && !stopped).catch((error: unknown) => {
        if (open) subscription.onError(error)
      })
      return () => {
        open = false
        live.delete(subscription)
      }
    },
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await reading
      live.clear()
    },
  }
}
