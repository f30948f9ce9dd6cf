import { expect, test } from 'vitest'
import { createOpenTelemetryTracer } from '../../../../src/platform/adapters/opentelemetry/opentelemetry-tracer.ts'
import { createMemoryLogger } from '../../../../src/platform/memory/memory-logger.ts'
import { type OtlpCollector, startOtlpCollector } from '../../../helpers/otlp-collector.ts'
import { until } from '../../../helpers/until.ts'

const names = ({ spans }: OtlpCollector) => spans.map(({ name }) => name)

test(
  'opentelemetry, whose collector goes away and comes back: costs spans, never time',
  { timeout: 60_000 },
  async () => {
    const first = await startOtlpCollector()
    const { endpoint } = first
    const tracer = createOpenTelemetryTracer({ endpoint, exportEveryMs: 20, logger: createMemoryLogger() })
    await tracer.start()
    await tracer.withSpan('before', async () => undefined)
    await until(() => names(first).includes('before'))

    await first.stop()
    for (let n = 0; n < 5_000; n++) await tracer.withSpan('meanwhile', async () => undefined)
    expect(await tracer.withSpan('still', async (span) => span.traceId)).toMatch(/^[0-9a-f]{32}$/)

    const second = await startOtlpCollector(Number(new URL(endpoint).port))
    // What is sent next may still belong to what was left over.
    await expect
      .poll(
        async () => {
          await tracer.withSpan('after', async () => undefined)
          return names(second)
        },
        { timeout: 40_000, interval: 100 },
      )
      .toContain('after')
    await second.stop()

    await tracer.withSpan('nobody hears', async () => undefined)
    const began = performance.now()
    await tracer.stop()
    expect(performance.now() - began).toBeLessThan(20_000)
  },
)
