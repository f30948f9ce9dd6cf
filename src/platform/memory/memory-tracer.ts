import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { type Clock, systemClock } from '../clock.ts'
import { formatTraceparent, parseTraceparent, type TraceIds } from '../traceparent.ts'
import type { Span, SpanAttributes, SpanOptions, Tracer } from '../tracer.ts'

export interface RecordedSpan {
  readonly name: string
  readonly kind: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly links: readonly TraceIds[]
  readonly attributes: SpanAttributes
  readonly events: readonly string[]
  /** What `recordError` was given last. */
  readonly error: unknown
  readonly startedAt: number
  /** `undefined` while it runs. */
  readonly endedAt: number | undefined
}

export interface MemoryTracer extends Tracer {
  /** Every span, in order of its start. */
  readonly spans: readonly RecordedSpan[]
}

/** Keeps spans instead of sending them. */
export function createMemoryTracer(options: { readonly clock?: Clock } = {}): MemoryTracer {
  const clock = options.clock ?? systemClock
  const current = new AsyncLocalStorage<Span>()
  const spans: RecordedSpan[] = []

  const startSpan = (name: string, spanOptions: SpanOptions = {}): Span => {
    const parent = parseTraceparent(spanOptions.parent) ?? parseTraceparent(current.getStore()?.traceparent)
    const ids = { traceId: parent?.traceId ?? randomHex(16), spanId: randomHex(8), sampled: true }
    const links = (spanOptions.links ?? []).map((link) => parseTraceparent(link)).filter((link) => link !== undefined)
    const record = {
      name,
      kind: spanOptions.kind ?? 'internal',
      traceId: ids.traceId,
      spanId: ids.spanId,
      parentSpanId: parent?.spanId,
      links,
      attributes: { ...spanOptions.attributes },
      // Filled by the span; what is recorded after its end does not count.
      events: [] as string[],
      error: undefined as unknown,
      startedAt: clock.now(),
      endedAt: undefined as number | undefined,
    }
    spans.push(record)
    const whileOpen = (change: () => void) => {
      if (record.endedAt === undefined) change()
    }
    return {
      traceId: ids.traceId,
      spanId: ids.spanId,
      traceparent: formatTraceparent(ids),
      setAttributes: (attributes) => whileOpen(() => Object.assign(record.attributes, attributes)),
      addEvent: (event) => whileOpen(() => record.events.push(event)),
      recordError: (error) => whileOpen(() => (record.error = error)),
      end: () => whileOpen(() => (record.endedAt = clock.now())),
    }
  }

  return {
    spans,
    startSpan,
    withSpan: async (name, work, spanOptions) => {
      const span = startSpan(name, spanOptions)
      try {
        return await current.run(span, () => work(span))
      } catch (error) {
        span.recordError(error)
        throw error
      } finally {
        span.end()
      }
    },
    currentTraceId: () => current.getStore()?.traceId,
    currentTraceparent: () => current.getStore()?.traceparent,
  }
}

const randomHex = (bytes: number) => randomBytes(bytes).toString('hex')
