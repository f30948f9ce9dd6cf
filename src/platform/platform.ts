import type { Cache } from './cache.ts'
import type { Config, ConfigSchema } from './config.ts'
import type { Db } from './db.ts'
import type { FeatureFlags } from './feature-flags.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Logger } from './logger.ts'
import type { ObjectStorage } from './object-storage.ts'
import type { PubSub } from './pub-sub.ts'
import type { Secrets } from './secrets.ts'
import type { Tracer } from './tracer.ts'

/** The nine services. Hand each part of a program the ones that it uses, not the whole. */
export interface Platform<S extends ConfigSchema = ConfigSchema> extends Lifecycle {
  readonly db: Db
  readonly secrets: Secrets
  readonly pubsub: PubSub
  readonly objectStorage: ObjectStorage
  readonly cache: Cache
  readonly featureFlags: FeatureFlags
  readonly tracer: Tracer
  readonly logger: Logger
  readonly config: Config<S>
}

/** Starts parts in their order and stops them in the opposite one; when one fails to start, stops what had started. */
export function joinLifecycles(parts: readonly Partial<Lifecycle>[]): Lifecycle {
  const started: Partial<Lifecycle>[] = []
  let starting: Promise<void> | undefined
  let stopping: Promise<void> | undefined
  const stopStarted = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const part of started.splice(0).reverse()) {
      try {
        await part.stop?.()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0)
      throw new AggregateError(failures, `${failures.length} services could not be stopped cleanly`)
  }
  const startAll = async (): Promise<void> => {
    for (const part of parts) {
      // Before it starts: a part that fails half-way is stopped too.
      started.push(part)
      try {
        await part.start?.()
      } catch (error) {
        await stopStarted().catch(() => undefined)
        throw error
      }
    }
  }
  return {
    start: () => (starting ??= startAll()),
    stop: () =>
      (stopping ??= (async () => {
        // A start under way has to end first, or it would go on starting what was stopped.
        await starting?.catch(() => undefined)
        await stopStarted()
      })()),
  }
}
