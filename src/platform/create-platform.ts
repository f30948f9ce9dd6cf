import { z } from 'zod'
import { createEnvConfig } from './adapters/env/env-config.ts'
import { createEnvSecrets, type EnvSecretsOptions } from './adapters/env/env-secrets.ts'
import { createFileSecrets, type FileSecretsOptions } from './adapters/filesystem/file-secrets.ts'
import {
  createFilesystemObjectStorage,
  type FilesystemObjectStorageOptions,
} from './adapters/filesystem/filesystem-object-storage.ts'
import {
  createKubernetesSecrets,
  type KubernetesSecretsOptions,
} from './adapters/kubernetes-secrets/kubernetes-secrets.ts'
import { createLruCache, type LruCacheOptions } from './adapters/lru/lru-cache.ts'
import { createNatsPubSub, type NatsPubSubOptions } from './adapters/nats/nats-pub-sub.ts'
import { createOpenFeatureFlags, type OpenFeatureFlagsOptions } from './adapters/openfeature/openfeature-flags.ts'
import {
  createOpenTelemetryTracer,
  type OpenTelemetryTracerOptions,
} from './adapters/opentelemetry/opentelemetry-tracer.ts'
import { createPgBossPubSub, type PgBossPubSubOptions } from './adapters/pg-boss/pg-boss-pub-sub.ts'
import { createPinoLogger, type PinoLoggerOptions } from './adapters/pino/pino-logger.ts'
import { createPostgresCache, type PostgresCacheOptions } from './adapters/postgres/postgres-cache.ts'
import { createPostgresDb, type PostgresDb, type PostgresDbOptions } from './adapters/postgres/postgres-db.ts'
import { createRedisCache } from './adapters/redis/redis-cache.ts'
import type { RedisOptions } from './adapters/redis/redis-connection.ts'
import { createRedisPubSub, type RedisPubSubOptions } from './adapters/redis/redis-pub-sub.ts'
import { createS3ObjectStorage, type S3ObjectStorageOptions } from './adapters/s3/s3-object-storage.ts'
import type { Cache } from './cache.ts'
import type { Config, ConfigSchema } from './config.ts'
import type { Db } from './db.ts'
import type { FeatureFlags } from './feature-flags.ts'
import type { Lifecycle } from './lifecycle.ts'
import { currentLogFields, withContext } from './log-context.ts'
import type { LogFields, Logger } from './logger.ts'
import { createMemoryFeatureFlags, type MemoryFlag } from './memory/memory-feature-flags.ts'
import { createMemoryObjectStorage, type MemoryObjectStorageOptions } from './memory/memory-object-storage.ts'
import { createMemoryPubSub } from './memory/memory-pub-sub.ts'
import { createMemorySecrets } from './memory/memory-secrets.ts'
import { createPgliteDb } from './memory/pglite-db.ts'
import type { ObjectStorage } from './object-storage.ts'
import { joinLifecycles, type Platform } from './platform.ts'
import { InvalidArgumentError } from './platform-error.ts'
import { createIdTracer } from './propagating-tracer.ts'
import type { PubSub } from './pub-sub.ts'
import type { Secrets } from './secrets.ts'
import type { Tracer } from './tracer.ts'
import {
  createUnconfiguredDb,
  createUnconfiguredObjectStorage,
  createUnconfiguredPubSub,
} from './unconfigured-services.ts'

/** An implementation of your own: it is started and stopped with the rest where it has `start` and `stop`. */
export interface OwnAdapter<T> {
  readonly adapter: 'own'
  readonly service: T & Partial<Lifecycle>
}

type Given<Name extends string, Options> = Omit<Options, 'logger' | 'tracer' | 'db'> & { readonly adapter: Name }

export type DbSettings = Given<'postgres', PostgresDbOptions> | Given<'memory', object> | OwnAdapter<Db>
export type SecretsSettings =
  | Given<'env', EnvSecretsOptions>
  | Given<'file', FileSecretsOptions>
  | Given<'kubernetes', KubernetesSecretsOptions>
  | Given<'memory', { readonly values?: Readonly<Record<string, string>> }>
  | OwnAdapter<Secrets>
export type PubSubSettings =
  | Given<'pg-boss', PgBossPubSubOptions>
  | Given<'nats', NatsPubSubOptions>
  | Given<'redis', RedisPubSubOptions>
  | Given<'memory', object>
  | OwnAdapter<PubSub>
export type ObjectStorageSettings =
  | Given<'filesystem', FilesystemObjectStorageOptions>
  | Given<'s3', S3ObjectStorageOptions>
  | Given<'memory', MemoryObjectStorageOptions>
  | OwnAdapter<ObjectStorage>
export type CacheSettings =
  | Given<'lru', LruCacheOptions>
  | Given<'postgres', PostgresCacheOptions>
  | Given<'redis', RedisOptions>
  | OwnAdapter<Cache>
export type FeatureFlagsSettings =
  | Given<'openfeature', OpenFeatureFlagsOptions>
  | Given<'memory', { readonly flags?: Readonly<Record<string, MemoryFlag>> }>
  | OwnAdapter<FeatureFlags>
export type TracerSettings = Given<'opentelemetry', OpenTelemetryTracerOptions> | OwnAdapter<Tracer>
export type LoggerSettings = Given<'pino', Omit<PinoLoggerOptions, 'context'>> | OwnAdapter<Logger>

/** Which adapter stands behind each service. What is left out costs nothing. */
export interface PlatformOptions<S extends ConfigSchema = ConfigSchema> {
  /** From `createConfig`. @default no settings */
  readonly config?: Config<S>
  /** @default pino, level `info`, to standard output, with the current `traceId` on every line */
  readonly logger?: LoggerSettings
  /** @default ids that travel, and no span is sent */
  readonly tracer?: TracerSettings
  /** Without it every call is refused. */
  readonly db?: DbSettings
  /** @default variables that start with `SECRET_` */
  readonly secrets?: SecretsSettings
  /** Without it every call is refused. `pg-boss` needs `db: { adapter: 'postgres', … }`. */
  readonly pubsub?: PubSubSettings
  /** Without it every call is refused. */
  readonly objectStorage?: ObjectStorageSettings
  /** @default least recently used, in this process. `postgres` needs a `db`. */
  readonly cache?: CacheSettings
  /** @default every flag answers its fallback */
  readonly featureFlags?: FeatureFlagsSettings
}

/** What the program that owns the database leaves to whoever starts it: `db` is its own pool. */
export type PlatformSettings = Omit<PlatformOptions, 'config' | 'db'>

/**
 * Makes the nine services. Nothing is opened before `start()`, which also loads the libraries that the chosen adapters
 * need. When a service cannot start, those that had started are stopped again and `start()` rejects.
 * @throws InvalidArgumentError when two settings do not fit together
 */
export function createPlatform<S extends ConfigSchema>(options: PlatformOptions<S> = {}): Platform<S> {
  const tracer = chooseTracer(options.tracer, () => logger)
  const context = () => {
    const traceId = tracer.currentTraceId()
    return { ...currentLogFields(), ...(traceId !== undefined && { traceId }) }
  }
  const logger = chooseLogger(options.logger, context)
  const db = chooseDb(options.db)
  const parts = { logger, tracer, db: db.service }
  const secrets = chooseSecrets(options.secrets, logger)
  const cache = chooseCache(options.cache, parts)
  const objectStorage = chooseObjectStorage(options.objectStorage)
  const featureFlags = chooseFeatureFlags(options.featureFlags, logger)
  const pubsub = choosePubSub(options.pubsub, { ...parts, postgres: db.postgres })
  const inOrder = [logger, tracer, db.service, secrets, cache, objectStorage, featureFlags, pubsub]
  return {
    logger,
    tracer,
    db: db.service,
    secrets,
    cache,
    objectStorage,
    featureFlags,
    pubsub,
    config: options.config ?? createEnvConfig({ schema: z.object({}), env: {} }),
    ...joinLifecycles(inOrder),
  }
}

type Service<T> = T & Partial<Lifecycle>

interface Parts {
  readonly logger: Logger
  readonly tracer: Tracer
  readonly db: Db
}

function chooseLogger(settings: LoggerSettings | undefined, context: () => LogFields): Service<Logger> {
  if (settings?.adapter !== 'own') return createPinoLogger({ ...settings, context })
  const { start, stop } = settings.service
  return { ...withContext(settings.service, context), ...(start && { start }), ...(stop && { stop }) }
}

function chooseTracer(settings: TracerSettings | undefined, logger: () => Logger): Service<Tracer> {
  if (!settings) return createIdTracer()
  if (settings.adapter === 'own') return settings.service
  return createOpenTelemetryTracer({
    ...settings,
    get logger() {
      return logger()
    },
  })
}

function chooseDb(settings: DbSettings | undefined): { service: Service<Db>; postgres?: PostgresDb } {
  switch (settings?.adapter) {
    case undefined:
      return { service: createUnconfiguredDb() }
    case 'own':
      return { service: settings.service }
    case 'memory':
      return { service: createPgliteDb() }
    case 'postgres': {
      const postgres = createPostgresDb(settings)
      return { service: postgres, postgres }
    }
  }
}

function chooseSecrets(settings: SecretsSettings | undefined, logger: Logger): Service<Secrets> {
  switch (settings?.adapter) {
    case undefined:
      return createEnvSecrets()
    case 'own':
      return settings.service
    case 'env':
      return createEnvSecrets(settings)
    case 'file':
      return createFileSecrets(settings)
    case 'kubernetes':
      return createKubernetesSecrets({ ...settings, logger })
    case 'memory':
      return createMemorySecrets(settings.values)
  }
}

function chooseCache(settings: CacheSettings | undefined, { logger, db }: Parts): Service<Cache> {
  switch (settings?.adapter) {
    case undefined:
      return createLruCache()
    case 'own':
      return settings.service
    case 'lru':
      return createLruCache(settings)
    case 'postgres':
      return createPostgresCache({ ...settings, db, logger })
    case 'redis':
      return createRedisCache({ ...settings, logger })
  }
}

function chooseObjectStorage(settings: ObjectStorageSettings | undefined): Service<ObjectStorage> {
  switch (settings?.adapter) {
    case undefined:
      return createUnconfiguredObjectStorage()
    case 'own':
      return settings.service
    case 'filesystem':
      return createFilesystemObjectStorage(settings)
    case 's3':
      return createS3ObjectStorage(settings)
    case 'memory':
      return createMemoryObjectStorage(settings)
  }
}

function chooseFeatureFlags(settings: FeatureFlagsSettings | undefined, logger: Logger): Service<FeatureFlags> {
  switch (settings?.adapter) {
    case undefined:
      return createMemoryFeatureFlags()
    case 'own':
      return settings.service
    case 'openfeature':
      return createOpenFeatureFlags({ ...settings, logger })
    case 'memory':
      return createMemoryFeatureFlags(settings.flags)
  }
}

function choosePubSub(
  settings: PubSubSettings | undefined,
  { logger, tracer, postgres }: Parts & { readonly postgres: PostgresDb | undefined },
): Service<PubSub> {
  switch (settings?.adapter) {
    case undefined:
      return createUnconfiguredPubSub()
    case 'own':
      return settings.service
    case 'pg-boss':
      if (!postgres) {
        throw new InvalidArgumentError(
          "pubsub: 'pg-boss' keeps its events in the database: pass db: { adapter: 'postgres', … }",
        )
      }
      return createPgBossPubSub({ ...settings, db: postgres, logger, tracer })
    case 'nats':
      return createNatsPubSub({ ...settings, logger, tracer })
    case 'redis':
      return createRedisPubSub({ ...settings, logger, tracer })
    case 'memory':
      return createMemoryPubSub({ tracer })
  }
}

// Here because a program reads its settings before it can choose adapters, and this file alone imports them.
export { createEnvConfig as createConfig, type EnvConfigOptions as ConfigOptions } from './adapters/env/env-config.ts'
