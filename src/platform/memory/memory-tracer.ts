import { type Clock, systemClock } from '../clock.ts'
import { createPropagatingTracer } from '../propagating-tracer.ts'
import { parseTraceparent, type TraceIds } from '../traceparent.ts'
import type { SpanAttributes, SpanKind, Tracer } from '../tracer.ts'

export interface RecordedSpan {
  readonly name: string
  readonly kind: SpanKind
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
  const spans: RecordedSpan[] = []
  const tracer = createPropagatingTracer(({ name, traceId, spanId, parentSpanId, options: spanOptions }) => {
    const links = (spanOptions.links ?? []).map(parseTraceparent).filter((link) => link !== undefined)
    const events: string[] = []
    const span = {
      name,
      kind: spanOptions.kind ?? ('internal' as const),
      traceId,
      spanId,
      parentSpanId,
      links,
      attributes: { ...spanOptions.attributes },
      events,
      error: undefined as unknown,
      startedAt: clock.now(),
      endedAt: undefined as number | undefined,
    }
    spans.push(span)
    return {
      setAttributes: (attributes) => Object.assign(span.attributes, attributes),
      addEvent: (event) => events.push(event),
      recordError: (error) => (span.error = error),
      end: () => (span.endedAt = clock.now()),
    }
  })
  return { ...tracer, spans }
}
