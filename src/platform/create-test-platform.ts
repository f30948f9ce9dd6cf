import { type Clock, systemClock } from './clock.ts'
import type { Config, ConfigSchema } from './config.ts'
import { createConfig } from './create-platform.ts'
import { z } from 'zod'
import { createMemoryCache } from './memory/memory-cache.ts'
import { createMemoryFeatureFlags, type MemoryFeatureFlags, type MemoryFlag } from './memory/memory-feature-flags.ts'
import { createMemoryLogger, type MemoryLogger } from './memory/memory-logger.ts'
import { createMemoryObjectStorage } from './memory/memory-object-storage.ts'
import { createMemoryPubSub } from './memory/memory-pub-sub.ts'
import { createMemorySecrets, type MemorySecrets } from './memory/memory-secrets.ts'
import { createMemoryTracer, type MemoryTracer } from './memory/memory-tracer.ts'
import { createPgliteDb } from './memory/pglite-db.ts'
import { joinLifecycles, type Platform } from './platform.ts'

export interface TestPlatformOptions<S extends ConfigSchema = ConfigSchema> {
  /** What expiry and redelivery go by; `createManualClock()` for one that moves when told to. @default the system's */
  readonly clock?: Clock
  /** @default no settings */
  readonly config?: Config<S>
  readonly secrets?: Readonly<Record<string, string>>
  readonly flags?: Readonly<Record<string, MemoryFlag>>
}

/** A platform whose twins also show and change what the real ones keep to themselves. */
export interface TestPlatform<S extends ConfigSchema = ConfigSchema> extends Platform<S> {
  readonly secrets: MemorySecrets
  readonly featureFlags: MemoryFeatureFlags
  readonly tracer: MemoryTracer
  readonly logger: MemoryLogger
}

/**
 * The nine services in memory: they roll back, redeliver, deduplicate, expire and keep order as the real ones do. The
 * database is PostgreSQL in this process (the package `@electric-sql/pglite`), opened by its first statement; its time
 * is the system's.
 */
export function createTestPlatform<S extends ConfigSchema>(options: TestPlatformOptions<S> = {}): TestPlatform<S> {
  const clock = options.clock ?? systemClock
  const tracer = createMemoryTracer({ clock })
  const context = () => {
    const traceId = tracer.currentTraceId()
    return traceId === undefined ? {} : { traceId }
  }
  const db = createPgliteDb()
  const secrets = createMemorySecrets(options.secrets)
  const pubsub = createMemoryPubSub({ clock, tracer })
  return {
    db,
    secrets,
    pubsub,
    tracer,
    logger: createMemoryLogger({ context }),
    cache: createMemoryCache({ clock }),
    objectStorage: createMemoryObjectStorage({ clock }),
    featureFlags: createMemoryFeatureFlags(options.flags),
    config: options.config ?? createConfig({ schema: z.object({}), env: {} }),
    ...joinLifecycles([db, secrets, pubsub]),
  }
}
