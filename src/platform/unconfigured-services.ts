import type { Db } from './db.ts'
import type { ObjectStorage } from './object-storage.ts'
import { ServiceNotRunningError } from './platform-error.ts'
import type { PubSub } from './pub-sub.ts'

function refusal(property: string): () => Promise<never> {
  return async () => {
    throw new ServiceNotRunningError(`There is no ${property}: pass \`${property}\` to createPlatform`)
  }
}

/** Stands where no database was configured: every call says so. */
export function createUnconfiguredDb(): Db {
  const refuse = refusal('db')
  return {
    capabilities: { concurrency: false, statementTimeout: false },
    query: refuse,
    execute: refuse,
    withTx: refuse,
  }
}

export function createUnconfiguredPubSub(): PubSub {
  const refuse = refusal('pubsub')
  return {
    capabilities: { ordering: 'none', transactionalPublish: false },
    publish: refuse,
    subscribe: refuse,
    unsubscribe: refuse,
    deadLetters: refuse,
    redrive: refuse,
  }
}

export function createUnconfiguredObjectStorage(): ObjectStorage {
  const refuse = refusal('objectStorage')
  return {
    capabilities: { presign: false },
    put: refuse,
    get: refuse,
    head: refuse,
    list: refuse,
    delete: refuse,
    presign: refuse,
  }
}
