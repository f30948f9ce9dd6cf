import type { Logger } from '../platform/logger.ts'
import type { Metrics, OtlpMetricsOptions } from './create-metrics.ts'
import { createInstruments, type Instruments, noInstruments } from './instruments.ts'
import { type MetricsServer, startMetricsServer } from './metrics-server.ts'
import { type MetricSources, observe } from './observe.ts'

export interface MetricsOptions {
  /** Where Prometheus reads them: `GET /metrics`, for whoever reaches it. @default nowhere */
  readonly listen?: {
    /** @default '127.0.0.1' */
    readonly host?: string
    /** 0 takes a free one. */
    readonly port: number
  }
  /** Sends them to a collector. @default to none */
  readonly otlp?: OtlpMetricsOptions
}

/** The metrics of a process. Where nobody reads them nothing is loaded, and nothing counted. */
export interface ProcessMetrics {
  readonly instruments: Instruments
  /** @returns where Prometheus reads them; empty where it does not */
  start(sources: MetricSources): Promise<string>
  stop(): Promise<void>
}

export async function createProcessMetrics(options: MetricsOptions, logger: Logger): Promise<ProcessMetrics> {
  const { listen, otlp } = options
  if (!listen && !otlp) return { instruments: noInstruments, start: async () => '', stop: async () => undefined }
  const { createMetrics } = await import('./create-metrics.ts')
  const metrics: Metrics = await createMetrics({ logger, ...(otlp && { otlp }) })
  let server: MetricsServer | undefined
  let stopObserving: (() => void) | undefined
  return {
    instruments: createInstruments(metrics.meter),
    start: async (sources) => {
      stopObserving = observe(metrics.meter, sources)
      if (!listen) return ''
      const { host, port } = listen
      try {
        server = await startMetricsServer({ host, port, logger, read: metrics.toPrometheusText })
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        // Not as it is: its code would be taken for that of the API's own address.
        throw new Error(`Metrics cannot be served: ${reason}. Choose another --metrics-port.`, { cause: error })
      }
      return server.url
    },
    stop: async () => {
      await server?.stop()
      stopObserving?.()
      await metrics.stop()
    },
  }
}
