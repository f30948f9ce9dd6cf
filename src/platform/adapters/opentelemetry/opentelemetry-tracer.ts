import {
  type Attributes,
  context,
  type Context,
  type Link,
  propagation,
  ROOT_CONTEXT,
  type Span as ApiSpan,
  SpanKind as ApiSpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from '@opentelemetry/api'
import type { Lifecycle } from '../../lifecycle.ts'
import type { Logger } from '../../logger.ts'
import { formatTraceparent, parseTraceparent } from '../../traceparent.ts'
import type { Span, SpanKind, SpanOptions, Tracer } from '../../tracer.ts'
import { loadLibrary } from '../../load-library.ts'

export interface OpenTelemetryTracerOptions {
  /** Where spans go, an OTLP/HTTP address such as `http://collector:4318/v1/traces`. Without it the SDK that the program has registered itself is used. */
  readonly endpoint?: string
  /** Sent with every request to the collector. */
  readonly headers?: Readonly<Record<string, string>>
  /** @default 'sluice' */
  readonly serviceName?: string
  /** Share of new traces that are sent, 0 to 1. Continued ones follow their parent. @default 1 */
  readonly sampleRatio?: number
  /** Milliseconds between sendings. @default 5_000 */
  readonly exportEveryMs?: number
  readonly logger: Logger
}

const kinds: Readonly<Record<SpanKind, ApiSpanKind>> = {
  internal: ApiSpanKind.INTERNAL,
  server: ApiSpanKind.SERVER,
  client: ApiSpanKind.CLIENT,
  producer: ApiSpanKind.PRODUCER,
  consumer: ApiSpanKind.CONSUMER,
}

/**
 * Spans over OpenTelemetry. They are kept in a bounded buffer and sent in the background: a collector that is away costs
 * spans, never time. `stop` sends what is left.
 */
export function createOpenTelemetryTracer(options: OpenTelemetryTracerOptions): Tracer & Lifecycle {
  // Asked anew each time: the API hands out what is registered now.
  const tracer = () => trace.getTracer('sluice')
  let shutdown: (() => Promise<void>) | undefined
  let starting: Promise<void> | undefined

  const begin = (name: string, spanOptions: SpanOptions): { span: ApiSpan; parent: Context } => {
    const parent = contextOf(spanOptions.parent) ?? context.active()
    const links = (spanOptions.links ?? []).map(linkTo).filter((link) => link !== undefined)
    const attributes: Attributes = { ...spanOptions.attributes }
    const span = tracer().startSpan(name, { kind: kinds[spanOptions.kind ?? 'internal'], attributes, links }, parent)
    return { span, parent }
  }

  return {
    startSpan: (name, spanOptions = {}) => wrap(begin(name, spanOptions).span),
    withSpan: async (name, work, spanOptions = {}) => {
      const { span, parent } = begin(name, spanOptions)
      const wrapped = wrap(span)
      try {
        return await context.with(trace.setSpan(parent, span), () => work(wrapped))
      } catch (error) {
        wrapped.recordError(error)
        throw error
      } finally {
        span.end()
      }
    },
    currentTraceId: () => currentIds()?.traceId,
    currentTraceparent: () => {
      const ids = currentIds()
      return ids && formatTraceparent(ids)
    },
    start: () =>
      (starting ??= (async () => {
        if (options.endpoint !== undefined) shutdown = await registerSdk({ ...options, endpoint: options.endpoint })
      })()),
    stop: async () => {
      await shutdown?.().catch((error: unknown) => options.logger.warn('The last spans could not be sent', { error }))
      shutdown = undefined
    },
  }
}

async function registerSdk(
  options: OpenTelemetryTracerOptions & { readonly endpoint: string },
): Promise<() => Promise<void>> {
  const adapter = 'opentelemetry'
  const sdk = await loadLibrary('@opentelemetry/sdk-trace-node', adapter, () => import('@opentelemetry/sdk-trace-node'))
  const { OTLPTraceExporter } = await loadLibrary(
    '@opentelemetry/exporter-trace-otlp-http',
    adapter,
    () => import('@opentelemetry/exporter-trace-otlp-http'),
  )
  const { resourceFromAttributes } = await loadLibrary(
    '@opentelemetry/resources',
    adapter,
    () => import('@opentelemetry/resources'),
  )
  const exporter = new OTLPTraceExporter({ url: options.endpoint, headers: { ...options.headers } })
  const provider = new sdk.NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': options.serviceName ?? 'sluice' }),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(options.sampleRatio ?? 1) }),
    spanProcessors: [new sdk.BatchSpanProcessor(exporter, { scheduledDelayMillis: options.exportEveryMs ?? 5_000 })],
  })
  provider.register()
  return async () => {
    try {
      await provider.shutdown()
    } finally {
      trace.disable()
      context.disable()
      propagation.disable()
    }
  }
}

function wrap(span: ApiSpan): Span {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return {
    traceId,
    spanId,
    traceparent: formatTraceparent({ traceId, spanId, sampled: (traceFlags & TraceFlags.SAMPLED) !== 0 }),
    setAttributes: (attributes) => void span.setAttributes({ ...attributes }),
    addEvent: (name, attributes) => void span.addEvent(name, { ...attributes }),
    recordError: (error) => {
      const exception = error instanceof Error ? error : new Error(String(error))
      span.recordException(exception)
      span.setStatus({ code: SpanStatusCode.ERROR, message: exception.message })
    },
    end: () => {
      // A second end is an error to the SDK, and none here.
      if (span.isRecording()) span.end()
    },
  }
}

function currentIds() {
  const ids = trace.getActiveSpan()?.spanContext()
  if (!ids || /^0+$/.test(ids.traceId)) return undefined
  return { traceId: ids.traceId, spanId: ids.spanId, sampled: (ids.traceFlags & TraceFlags.SAMPLED) !== 0 }
}

function contextOf(traceparent: string | undefined): Context | undefined {
  const link = traceparent === undefined ? undefined : linkTo(traceparent)
  return link && trace.setSpanContext(ROOT_CONTEXT, link.context)
}

function linkTo(traceparent: string): Link | undefined {
  const ids = parseTraceparent(traceparent)
  if (!ids) return undefined
  const { traceId, spanId, sampled } = ids
  return { context: { traceId, spanId, traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE, isRemote: true } }
}
