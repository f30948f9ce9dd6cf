import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { z } from 'zod'
import { createOpenTelemetryTracer } from '../../../src/platform/adapters/opentelemetry/opentelemetry-tracer.ts'
import { createMemoryLogger } from '../../../src/platform/memory/memory-logger.ts'
import { createMemoryTracer } from '../../../src/platform/memory/memory-tracer.ts'
import type { SpanKind } from '../../../src/platform/tracer.ts'
import { type FinishedSpan, tracerConformance } from '../../../src/testing/platform-conformance.ts'
import { until } from '../../helpers/until.ts'
import { describeSuite } from './support/describe-suite.ts'

describeSuite('tracer: memory', tracerConformance, async () => {
  const tracer = createMemoryTracer()
  const finished = async (traceId: string) =>
    tracer.spans
      .filter((span) => span.traceId === traceId && span.endedAt !== undefined)
      .map((span) => ({
        ...span,
        linkedTraceIds: span.links.map((link) => link.traceId),
        failed: span.error !== undefined,
      }))
  return { subject: { tracer, finished }, stop: async () => undefined }
})

describeSuite('tracer: opentelemetry, sending to a collector', tracerConformance, async () => {
  const collector = await startCollector()
  const { endpoint, spans } = collector
  const tracer = createOpenTelemetryTracer({ endpoint, exportEveryMs: 20, logger: createMemoryLogger() })
  await tracer.start()
  const finished = async (traceId: string, count: number) => {
    const found = () => spans.filter((span) => span.traceId === traceId)
    await until(() => found().length >= count)
    return found()
  }
  const stop = async () => {
    await tracer.stop()
    await collector.stop()
  }
  return { subject: { tracer, finished }, stop }
})

// OTLP in JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
const value = z.object({ stringValue: z.string(), intValue: z.coerce.number(), boolValue: z.boolean() }).partial()
const otlpSpan = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  kind: z.number(),
  attributes: z.array(z.object({ key: z.string(), value })).default([]),
  events: z.array(z.object({ name: z.string() })).default([]),
  links: z.array(z.object({ traceId: z.string() })).default([]),
  status: z.object({ code: z.number().default(0) }).default({ code: 0 }),
})
const otlpRequest = z.object({
  resourceSpans: z.array(z.object({ scopeSpans: z.array(z.object({ spans: z.array(otlpSpan) })) })),
})
const kinds: readonly SpanKind[] = ['internal', 'internal', 'server', 'client', 'producer', 'consumer']

async function startCollector() {
  const spans: FinishedSpan[] = []
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    const { resourceSpans } = otlpRequest.parse(await json(request))
    for (const span of resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans))) {
      spans.push(toFinishedSpan(span))
    }
    response.setHeader('content-type', 'application/json').end('{}')
  }
  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  const stop = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { endpoint: `http://127.0.0.1:${port}/v1/traces`, spans, stop }
}

function toFinishedSpan(span: z.infer<typeof otlpSpan>): FinishedSpan {
  return {
    name: span.name,
    kind: kinds[span.kind] ?? 'internal',
    traceId: span.traceId,
    spanId: span.spanId,
    parentSpanId: span.parentSpanId === '' ? undefined : span.parentSpanId,
    attributes: Object.fromEntries(span.attributes.map((item) => [item.key, Object.values(item.value)[0]])),
    events: span.events.map((event) => event.name),
    linkedTraceIds: span.links.map((link) => link.traceId),
    failed: span.status.code === 2,
  }
}
