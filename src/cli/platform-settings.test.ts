import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parsePlatformChoices, toMetricsOptions, toPlatformSettings } from './platform-settings.ts'
import { UsageError } from './usage-error.ts'

const endpoint = 'http://collector:4318'

describe('where traces go', () => {
  test('nowhere, unless a collector is named', () => {
    expect(toPlatformSettings(parsePlatformChoices({}, {}))).toEqual({})
    expect(toPlatformSettings(parsePlatformChoices({}, { OTEL_EXPORTER_OTLP_ENDPOINT: '' }))).toEqual({})
  })

  test("OpenTelemetry's own variables are understood", () => {
    const choices = parsePlatformChoices(
      {},
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: `${endpoint}/`,
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20abc, x-scope=a=b',
        OTEL_SERVICE_NAME: 'sluice-api',
        OTEL_TRACES_SAMPLER_ARG: '0.25',
      },
    )
    expect(toPlatformSettings(choices).tracer).toEqual({
      adapter: 'opentelemetry',
      endpoint: `${endpoint}/v1/traces`,
      headers: { authorization: 'Bearer abc', 'x-scope': 'a=b' },
      serviceName: 'sluice-api',
      sampleRatio: 0.25,
    })
  })

  test.each([
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_SAMPLER_ARG: '2' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: 'secret' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: 'secret=%zz' },
  ])('%o is refused without repeating a secret', (env) => {
    const parse = () => parsePlatformChoices({}, env)
    expect(parse).toThrow(UsageError)
    expect(parse).not.toThrow(/secret/)
  })
})

describe('feature flags', () => {
  test('come from the file that --flags, or SLUICE_FLAGS, names', () => {
    const file = fileURLToPath(import.meta.url)
    const settings = { featureFlags: { adapter: 'openfeature', file } }
    expect(toPlatformSettings(parsePlatformChoices({ flags: file }, { SLUICE_FLAGS: '/nowhere' }))).toEqual(settings)
    expect(toPlatformSettings(parsePlatformChoices({}, { SLUICE_FLAGS: file }))).toEqual(settings)
    expect(() => parsePlatformChoices({ flags: '/nowhere' }, {})).toThrow(UsageError)
  })
})

describe('large results', () => {
  test('go to a folder, or to a bucket of any server', () => {
    const storage = (objects: string) => toPlatformSettings(parsePlatformChoices({ objects }, {})).objectStorage
    expect(storage('/var/lib/sluice')).toEqual({ adapter: 'filesystem', directory: '/var/lib/sluice' })
    expect(storage('file:///var/lib/sluice')).toEqual({ adapter: 'filesystem', directory: '/var/lib/sluice' })
    expect(storage('s3://results')).toEqual({ adapter: 's3', bucket: 'results' })
    expect(storage('s3://results/prod/?endpoint=http://minio:9000&region=eu-west-1')).toEqual({
      adapter: 's3',
      bucket: 'results',
      keyPrefix: 'prod',
      endpoint: 'http://minio:9000',
      region: 'eu-west-1',
    })
    expect(parsePlatformChoices({}, { SLUICE_OBJECTS: '' })).toEqual({})
    for (const wrong of ['s3:', 's3://', 's3://b?endpoint=minio']) expect(() => storage(wrong)).toThrow(UsageError)
  })
})

describe('events for other programs', () => {
  test('go over PostgreSQL, NATS or Redis', () => {
    const pubsub = (events: string) => toPlatformSettings(parsePlatformChoices({ events }, {})).pubsub
    expect(pubsub('postgres')).toEqual({ adapter: 'pg-boss' })
    expect(pubsub('nats://a:4222')).toEqual({ adapter: 'nats', servers: 'a:4222' })
    expect(pubsub('nats://me:s%20t@a:4222')).toEqual({
      adapter: 'nats',
      servers: 'a:4222',
      user: 'me',
      password: 's t',
    })
    expect(pubsub('nats://token@a:4222')).toEqual({ adapter: 'nats', servers: 'a:4222', token: 'token' })
    expect(pubsub('rediss://a:6379/2')).toEqual({ adapter: 'redis', url: 'rediss://a:6379/2' })
    expect(parsePlatformChoices({}, { SLUICE_EVENTS: 'postgres' })).toEqual({ events: { adapter: 'pg-boss' } })
    for (const wrong of ['kafka://u:hidden@a', 'nats:', 'yes']) {
      expect(() => pubsub(wrong)).toThrow(UsageError)
      expect(() => pubsub(wrong)).not.toThrow(/hidden/)
    }
  })
})

describe('metrics', () => {
  test('are read on this machine only, at the port that is named', () => {
    const metrics = (flags: object, env = {}) => toMetricsOptions(parsePlatformChoices(flags, env))
    expect(metrics({})).toEqual({})
    expect(metrics({ metricsHost: '::' })).toEqual({})
    expect(metrics({ metricsPort: '9464' })).toEqual({ listen: { host: '127.0.0.1', port: 9464 } })
    expect(metrics({ metricsPort: '1' }, { SLUICE_METRICS_PORT: '2', SLUICE_METRICS_HOST: '::' })).toEqual({
      listen: { host: '::', port: 1 },
    })
    for (const metricsPort of ['x', '-1', '65536', '1e3']) expect(() => metrics({ metricsPort })).toThrow(UsageError)
    expect(() => metrics({ metricsPort: '1', metricsHost: 'a b' })).toThrow(UsageError)
  })

  test('go where traces go', () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `${endpoint}/`, OTEL_SERVICE_NAME: 'sluice-api' }
    expect(toMetricsOptions(parsePlatformChoices({}, env)).otlp).toMatchObject({
      endpoint: `${endpoint}/v1/metrics`,
      serviceName: 'sluice-api',
    })
  })
})
