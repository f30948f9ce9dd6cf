import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { MetricsOptions } from '../metrics/process-metrics.ts'
import type { ObjectStorageSettings, PlatformSettings, PubSubSettings } from '../platform/create-platform.ts'
import { UsageError } from './usage-error.ts'

/** Where traces and metrics go, by OpenTelemetry's own variables. */
export interface OtlpOptions {
  /** Base address, `http://collector:4318`. */
  readonly endpoint: string
  readonly headers: Readonly<Record<string, string>>
  readonly serviceName?: string
  /** Share of new traces that are sent, 0 to 1. */
  readonly sampleRatio?: number
}

/** What `sluice start` was asked for, of the platform services. */
export interface PlatformChoices {
  readonly otlp?: OtlpOptions
  /** Absolute path of the flag file. */
  readonly flagsFile?: string
  /** Where large results go. */
  readonly objects?: Extract<ObjectStorageSettings, { adapter: 'filesystem' | 's3' }>
  /** Over what the log is published. */
  /** Where metrics are read. */
  readonly metrics?: { readonly host: string; readonly port: number }
  readonly events?: Extract<PubSubSettings, { adapter: 'pg-boss' | 'nats' | 'redis' }>
}

/** The flags of `sluice start` that are about them, as they were typed. */
export interface PlatformFlags {
  readonly flags?: string
  readonly objects?: string
  readonly events?: string
  readonly metricsPort?: string
  readonly metricsHost?: string
}

/** @throws UsageError at the first mistake */
export function parsePlatformChoices(flags: PlatformFlags, env: NodeJS.ProcessEnv): PlatformChoices {
  const otlp = parseOtlp(env)
  const flagsFile = flags.flags ?? env['SLUICE_FLAGS']
  if (flagsFile && !existsSync(flagsFile))
    throw new UsageError(`--flags (SLUICE_FLAGS) names "${flagsFile}", and there is no such file.`)
  const objects = parseObjects(flags.objects ?? env['SLUICE_OBJECTS'])
  const events = parseEvents(flags.events ?? env['SLUICE_EVENTS'])
  return {
    ...(otlp && { otlp }),
    ...(flagsFile && { flagsFile: resolve(flagsFile) }),
    ...(objects && { objects }),
    ...(events && { events }),
    ...parseMetrics(flags, env),
  }
}

/** Metrics go where traces go, and to who reads them here. */
export function toMetricsOptions({ otlp, metrics }: PlatformChoices): MetricsOptions {
  return {
    ...(metrics && { listen: metrics }),
    ...(otlp && { otlp: { ...otlp, endpoint: `${otlp.endpoint.replace(/\/+$/, '')}/v1/metrics` } }),
  }
}

/** The adapters behind these choices. */
export function toPlatformSettings({ otlp, flagsFile, objects, events }: PlatformChoices): PlatformSettings {
  return {
    ...(otlp && {
      tracer: { ...otlp, adapter: 'opentelemetry', endpoint: `${otlp.endpoint.replace(/\/+$/, '')}/v1/traces` },
    }),
    ...(objects && { objectStorage: objects }),
    ...(events && { pubsub: events }),
    ...(flagsFile !== undefined && { featureFlags: { adapter: 'openfeature', file: flagsFile } }),
  }
}

// A folder, or `s3://bucket/prefix?endpoint=…&region=…`. Credentials come as the SDK finds them.
function parseObjects(value: string | undefined): PlatformChoices['objects'] {
  if (value === undefined || value === '') return undefined
  if (!value.startsWith('s3:')) return { adapter: 'filesystem', directory: resolve(value.replace(/^file:\/\//, '')) }
  const url = URL.canParse(value) ? new URL(value) : undefined
  const keyPrefix = url?.pathname.replace(/^\/+|\/+$/g, '')
  const [endpoint, region] = ['endpoint', 'region'].map((name) => url?.searchParams.get(name))
  if (!url?.hostname || (endpoint && !URL.canParse(endpoint)))
    throw new UsageError(
      '--objects (SLUICE_OBJECTS) must be a folder, or s3://bucket/prefix?endpoint=https://…&region=….',
    )
  return {
    adapter: 's3',
    bucket: url.hostname,
    ...(keyPrefix && { keyPrefix }),
    ...(endpoint && { endpoint }),
    ...(region && { region }),
  }
}

function parseMetrics(flags: PlatformFlags, env: NodeJS.ProcessEnv): Pick<PlatformChoices, 'metrics'> {
  const text = flags.metricsPort ?? env['SLUICE_METRICS_PORT']
  const host = flags.metricsHost ?? (env['SLUICE_METRICS_HOST'] || '127.0.0.1')
  if (text === undefined || text === '') return {}
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new UsageError(`--metrics-port (SLUICE_METRICS_PORT) must be a port between 0 and 65535, not "${text}".`)
  if (!/^[\w.:-]+$/.test(host))
    throw new UsageError(`--metrics-host (SLUICE_METRICS_HOST) must be an address or a host name, not "${host}".`)
  return { metrics: { host, port } }
}

function parseEvents(value: string | undefined): PlatformChoices['events'] {
  if (value === undefined || value === '') return undefined
  if (value === 'postgres') return { adapter: 'pg-boss' }
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url?.protocol === 'redis:' || url?.protocol === 'rediss:') return { adapter: 'redis', url: value }
  if (url?.protocol === 'nats:' && url.host !== '') {
    const [user, password] = [decodeURIComponent(url.username), decodeURIComponent(url.password)]
    // As NATS itself writes it: a name without a password is a token.
    const credentials = password === '' ? { ...(user && { token: user }) } : { user, password }
    return { adapter: 'nats', servers: url.host, ...credentials }
  }
  // The value may hold a password and is not repeated.
  throw new UsageError('--events (SLUICE_EVENTS) must be postgres, nats://host:4222 or redis://host:6379.')
}

function parseOtlp(env: NodeJS.ProcessEnv): OtlpOptions | undefined {
  const endpoint = env['OTEL_EXPORTER_OTLP_ENDPOINT']
  if (endpoint === undefined || endpoint === '') return undefined
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new UsageError('OTEL_EXPORTER_OTLP_ENDPOINT must look like http://collector:4318.')
  const serviceName = env['OTEL_SERVICE_NAME']
  const share = env['OTEL_TRACES_SAMPLER_ARG']
  const sampleRatio = Number(share)
  if (share && !(sampleRatio >= 0 && sampleRatio <= 1))
    throw new UsageError(`OTEL_TRACES_SAMPLER_ARG must be a share between 0 and 1, not "${share}".`)
  return {
    endpoint,
    headers: parseHeaders(env['OTEL_EXPORTER_OTLP_HEADERS'] ?? ''),
    ...(serviceName && { serviceName }),
    ...(share && { sampleRatio }),
  }
}

// `name=value,name=value`, values percent-encoded (W3C baggage), as OpenTelemetry specifies it.
function parseHeaders(text: string): Record<string, string> {
  const pairs = text.split(',').filter((pair) => pair.trim() !== '')
  return Object.fromEntries(
    pairs.map((pair) => {
      const [name = '', ...value] = pair.split('=')
      // The value may be a secret and is not repeated.
      const encoded = value.join('=').trim()
      if (!/^[\w.-]+$/.test(name.trim()) || value.length === 0 || /%(?![\da-f]{2})/i.test(encoded))
        throw new UsageError('OTEL_EXPORTER_OTLP_HEADERS must look like name=value,name=value, percent-encoded.')
      return [name.trim(), decodeURIComponent(encoded)]
    }),
  )
}
