import type { Meter } from '@opentelemetry/api'
import type { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import { loadLibrary } from '../platform/load-library.ts'
import type { Logger } from '../platform/logger.ts'

export interface OtlpMetricsOptions {
  /** An OTLP/HTTP address such as `http://collector:4318/v1/metrics`. */
  readonly endpoint: string
  readonly headers?: Readonly<Record<string, string>>
  /** @default 'sluice' */
  readonly serviceName?: string
  /** Milliseconds between sendings. @default 60_000 */
  readonly exportEveryMs?: number
}

export interface Metrics {
  readonly meter: Meter
  /** All of it, in Prometheus' text format. */
  toPrometheusText(): Promise<string>
  stop(): Promise<void>
}

/** Loads the SDK of OpenTelemetry. A collector that is away costs measurements, never time. */
export async function createMetrics(options: {
  readonly otlp?: OtlpMetricsOptions
  readonly logger: Logger
}): Promise<Metrics> {
  const { otlp, logger } = options
  const sdk = await import('@opentelemetry/sdk-metrics')
  const { PrometheusSerializer } = await import('@opentelemetry/exporter-prometheus')
  const pull = createPullReader(sdk)
  const provider: MeterProvider = new sdk.MeterProvider({
    readers: [pull, ...(otlp ? [await createPushReader(sdk, otlp)] : [])],
    ...(otlp && { resource: await resourceOf(otlp) }),
  })
  // Without the names of the library and the process on every line: the scraper adds its own.
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true)
  return {
    meter: provider.getMeter('sluice'),
    toPrometheusText: async () => {
      const { resourceMetrics, errors } = await pull.collect()
      for (const error of errors) logger.warn('a metric could not be read', { error })
      return serializer.serialize(resourceMetrics)
    },
    stop: () =>
      provider.shutdown().catch((error: unknown) => logger.warn('the last metrics could not be sent', { error })),
  }
}

type Sdk = typeof import('@opentelemetry/sdk-metrics')

/** Collects when it is asked. */
function createPullReader(sdk: Sdk): MetricReader {
  return new (class extends sdk.MetricReader {
    protected override async onForceFlush(): Promise<void> {}
    protected override async onShutdown(): Promise<void> {}
  })()
}

const adapter = 'opentelemetry'

async function createPushReader(sdk: Sdk, { endpoint, headers, exportEveryMs = 60_000 }: OtlpMetricsOptions) {
  const library = '@opentelemetry/exporter-metrics-otlp-http'
  const { OTLPMetricExporter } = await loadLibrary(
    library,
    adapter,
    () => import('@opentelemetry/exporter-metrics-otlp-http'),
  )
  const exporter = new OTLPMetricExporter({ url: endpoint, headers: { ...headers } })
  return new sdk.PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis: exportEveryMs,
    exportTimeoutMillis: Math.min(10_000, exportEveryMs),
  })
}

async function resourceOf({ serviceName = 'sluice' }: OtlpMetricsOptions) {
  const library = '@opentelemetry/resources'
  const { resourceFromAttributes } = await loadLibrary(library, adapter, () => import('@opentelemetry/resources'))
  return resourceFromAttributes({ 'service.name': serviceName })
}
