import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { formatTraceparent, parseTraceparent, type TraceIds } from './traceparent.ts'
import type { Span, SpanAttributes, SpanOptions, Tracer } from './tracer.ts'

/** Hears what happens to one span. Nothing is told after `end`. */
export interface SpanRecorder {
  setAttributes(attributes: SpanAttributes): void
  addEvent(name: string): void
  recordError(error: unknown): void
  end(): void
}

export interface StartedSpan extends TraceIds {
  readonly name: string
  readonly parentSpanId: string | undefined
  readonly options: SpanOptions
}

/**
 * Makes ids, hands them on through promises and continues those that come in, so that one trace id joins the log lines
 * of one piece of work. Spans go to `record` and nowhere else.
 */
export function createPropagatingTracer(record: (span: StartedSpan) => SpanRecorder): Tracer {
  const current = new AsyncLocalStorage<Span>()

  const startSpan = (name: string, options: SpanOptions = {}): Span => {
    const parent = parseTraceparent(options.parent) ?? parseTraceparent(current.getStore()?.traceparent)
    const ids = { traceId: parent?.traceId ?? randomHex(16), spanId: randomHex(8), sampled: parent?.sampled ?? true }
    const recorder = record({ ...ids, name, parentSpanId: parent?.spanId, options })
    let ended = false
    const whileOpen = (tell: () => void) => {
      if (!ended) tell()
    }
    return {
      traceId: ids.traceId,
      spanId: ids.spanId,
      traceparent: formatTraceparent(ids),
      setAttributes: (attributes) => whileOpen(() => recorder.setAttributes(attributes)),
      addEvent: (event) => whileOpen(() => recorder.addEvent(event)),
      recordError: (error) => whileOpen(() => recorder.recordError(error)),
      end: () => {
        whileOpen(() => recorder.end())
        ended = true
      },
    }
  }

  return {
    startSpan,
    withSpan: async (name, work, options) => {
      const span = startSpan(name, options)
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

const nothing: SpanRecorder = { setAttributes() {}, addEvent() {}, recordError() {}, end() {} }

/** Keeps no span: for processes that send none and still want one trace id per piece of work. */
export function createIdTracer(): Tracer {
  return createPropagatingTracer(() => nothing)
}

const randomHex = (bytes: number) => randomBytes(bytes).toString('hex')
