import { createOpenTelemetryTracer } from '../../../src/platform/adapters/opentelemetry/opentelemetry-tracer.ts'
import { createMemoryLogger } from '../../../src/platform/memory/memory-logger.ts'
import { createMemoryTracer } from '../../../src/platform/memory/memory-tracer.ts'
import { tracerConformance } from '../../../src/testing/platform-conformance.ts'
import { startOtlpCollector } from '../../helpers/otlp-collector.ts'
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
  const collector = await startOtlpCollector()
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
