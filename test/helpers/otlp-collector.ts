import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { z } from 'zod'
import type { SpanKind } from '../../src/platform/tracer.ts'
import type { FinishedSpan } from '../../src/testing/platform-conformance.ts'

// OTLP in JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
const value = z.object({ stringValue: z.string(), intValue: z.coerce.number(), boolValue: z.boolean() }).partial()
const attributes = z.array(z.object({ key: z.string(), value })).default([])
const otlpSpan = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  kind: z.number(),
  attributes,
  events: z.array(z.object({ name: z.string() })).default([]),
  links: z.array(z.object({ traceId: z.string(), spanId: z.string() })).default([]),
  status: z.object({ code: z.number().default(0) }).default({ code: 0 }),
})
const otlpTraces = z.object({
  resourceSpans: z.array(
    z.object({ resource: z.object({ attributes }), scopeSpans: z.array(z.object({ spans: z.array(otlpSpan) })) }),
  ),
})
const kinds: readonly SpanKind[] = ['internal', 'internal', 'server', 'client', 'producer', 'consumer']

const otlpMetrics = z.object({
  resourceMetrics: z.array(
    z.object({
      resource: z.object({ attributes }),
      scopeMetrics: z.array(z.object({ metrics: z.array(z.object({ name: z.string() })) })),
    }),
  ),
})

export interface CollectedSpan extends FinishedSpan {
  readonly service: unknown
  readonly linkedSpanIds: readonly string[]
}

/** An OTLP/HTTP receiver: what a collector would be sent, as it arrived. */
export interface OtlpCollector {
  /** As `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly url: string
  /** Where traces go. */
  readonly endpoint: string
  readonly spans: readonly CollectedSpan[]
  /** Names of the metrics that came, by the service that sent them. */
  readonly metrics: ReadonlyMap<unknown, ReadonlySet<string>>
  stop(): Promise<void>
}

/** @param port 0 takes a free one */
export async function startOtlpCollector(port = 0): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = []
  const metrics = new Map<unknown, Set<string>>()
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await json(request)
    if (request.url === '/v1/traces') spans.push(...readSpans(body))
    if (request.url === '/v1/metrics') readMetrics(body, metrics)
    response.setHeader('content-type', 'application/json').end('{}')
  }
  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy())
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : port}`
  return {
    url,
    endpoint: `${url}/v1/traces`,
    spans,
    metrics,
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function readSpans(body: unknown): CollectedSpan[] {
  return otlpTraces.parse(body).resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap((scope) =>
      scope.spans.map((span) => ({
        ...toFinishedSpan(span),
        service: valuesOf(resource.attributes)['service.name'],
      })),
    ),
  )
}

function readMetrics(body: unknown, metrics: Map<unknown, Set<string>>): void {
  for (const { resource, scopeMetrics } of otlpMetrics.parse(body).resourceMetrics) {
    const service = valuesOf(resource.attributes)['service.name']
    const names = metrics.get(service) ?? new Set()
    metrics.set(service, names)
    for (const { metrics: found } of scopeMetrics) for (const { name } of found) names.add(name)
  }
}

const valuesOf = (list: z.infer<typeof attributes>) =>
  Object.fromEntries(list.map((item) => [item.key, Object.values(item.value)[0]]))

function toFinishedSpan(span: z.infer<typeof otlpSpan>) {
  return {
    name: span.name,
    kind: kinds[span.kind] ?? ('internal' as const),
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId === '' ? undefined : span.parentSpanId,
    attributes: valuesOf(span.attributes),
    events: span.events.map((event) => event.name),
    linkedTraceIds: span.links.map((link) => link.traceId),
    linkedSpanIds: span.links.map((link) => link.spanId),
    failed: span.status.code === 2,
  }
}
