import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Attributes, Meter } from '@opentelemetry/api'

/** What is asked whenever somebody reads. Each answers from memory, but for the queue, which costs a few look-ups by index. */
export interface MetricSources {
  queue(): Promise<
    readonly {
      readonly queue: string
      readonly ready: number
      readonly scheduled: number
      readonly active: number
      readonly failed: number
      /** Of the job that has been due longest. */
      readonly oldestS: number
    }[]
  >
  watch(): {
    readonly upstreams: number
    readonly subscribers: number
    readonly objects: number
    readonly reconnects: number
    readonly lists: number
    readonly failures: number
  }
  pool(): { readonly used: number; readonly idle: number; readonly pending: number }
  /** Absent in a process without a worker. */
  worker?: (() => { readonly running: number; readonly waits: number }) | undefined
  /** Events that are not published yet. Absent where nothing is published. */
  unpublished?: (() => number) | undefined
}

/** Milliseconds over which the event loop's delay is looked at. */
const windowMs = 10_000
const resolutionMs = 20
/** Milliseconds for which one look at the queue answers everybody who reads. */
const queueFreshMs = 1_000

interface Reading {
  readonly value: number
  readonly attributes?: Attributes
}

/** @returns what ends it */
export function observe(meter: Meter, sources: MetricSources): () => void {
  const gauge = (name: string, options: { unit?: string; description: string }, read: Read): void => {
    meter.createObservableGauge(name, options).addCallback(async (result) => {
      for (const { value, attributes } of await read()) result.observe(value, attributes)
    })
  }
  const queue = readSeldom(sources.queue)
  gauge('sluice.queue.jobs', { description: 'Jobs per queue and state; the same from every process' }, async () =>
    (await queue()).flatMap(({ queue: name, oldestS: _, ...counts }) =>
      Object.entries(counts).map(([state, value]) => ({ value, attributes: { queue: name, state } })),
    ),
  )
  const oldest = 'How long the oldest due job of a queue has waited; the same from every process'
  gauge('sluice.queue.oldest', { unit: 's', description: oldest }, async () =>
    (await queue()).map(({ queue: name, oldestS: value }) => ({ value, attributes: { queue: name } })),
  )
  observeWatches(meter, sources.watch)
  gauge('db.client.connection.count', { description: 'Connections of the pool' }, () => {
    const { used, idle } = sources.pool()
    return [
      { value: used, attributes: { state: 'used' } },
      { value: idle, attributes: { state: 'idle' } },
    ]
  })
  gauge('db.client.connection.pending_requests', { description: 'Who waits for a connection' }, () => [
    { value: sources.pool().pending },
  ])
  const { worker, unpublished } = sources
  if (worker) {
    gauge('sluice.attempts.running', { description: 'Attempts under way in this process' }, () => [
      { value: worker().running },
    ])
    gauge('sluice.waits.watched', { description: 'Waits that this process watches' }, () => [{ value: worker().waits }])
  }
  if (unpublished) {
    gauge('sluice.events.unpublished', { description: 'Events to be published, in the process that publishes' }, () => [
      { value: unpublished() },
    ])
  }
  return observeEventLoop(gauge)
}

type Read = () => readonly Reading[] | Promise<readonly Reading[]>

function observeWatches(meter: Meter, read: MetricSources['watch']): void {
  const state = meter.createObservableGauge('sluice.watch.state', { description: 'Watches, who shares them, objects' })
  state.addCallback((result) => {
    const { upstreams, subscribers, objects } = read()
    for (const [of, value] of Object.entries({ upstreams, subscribers, objects })) result.observe(value, { of })
  })
  const counters = {
    reconnects: 'Watches opened again after their first time',
    lists: 'Lists of a whole collection',
    failures: 'Watches and lists that failed',
  }
  for (const [name, description] of Object.entries(counters)) {
    meter.createObservableCounter(`sluice.watch.${name}`, { description }).addCallback((result) => {
      result.observe(read()[name as keyof typeof counters])
    })
  }
}

/** Of the last ten seconds, however many read it and how often. */
function observeEventLoop(gauge: (name: string, options: { unit: string; description: string }, read: Read) => void) {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs })
  histogram.enable()
  const look = () => ({
    p50: histogram.percentile(50) / 1e9,
    p99: histogram.percentile(99) / 1e9,
    max: histogram.max / 1e9,
  })
  let last = look()
  const turn = () => {
    last = look()
    histogram.reset()
  }
  // A reset forgets the delay that is under way: what kept this timer waiting is recorded first.
  const timer = setInterval(() => setTimeout(turn, 2 * resolutionMs).unref(), windowMs).unref()
  for (const name of ['p50', 'p99', 'max'] as const) {
    const description = 'Event loop delay of the last ten seconds'
    gauge(`nodejs.eventloop.delay.${name}`, { unit: 's', description }, () => [{ value: last[name] }])
  }
  return () => {
    clearInterval(timer)
    histogram.disable()
  }
}

/** Asks again only when the last answer is a second old: readers may come as often as they like. */
function readSeldom<T>(ask: () => Promise<T>): () => Promise<T> {
  let last: Promise<T> | undefined
  let askedAt = 0
  return () => {
    if (!last || performance.now() - askedAt > queueFreshMs) {
      askedAt = performance.now()
      last = ask()
      // The next reader asks again.
      last.catch(() => (last = undefined))
    }
    return last
  }
}
