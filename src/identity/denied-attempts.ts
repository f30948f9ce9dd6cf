import { LRUCache } from 'lru-cache'
import { appendNote } from '../database/append-note.sql.ts'
import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/logger.ts'

export interface DeniedAttempt {
  readonly tenant: string
  readonly actor: string
  readonly method: string
  /** As it is declared, without the ids of one request. */
  readonly route: string
  /** Of the problem document. */
  readonly code: string
  readonly detail: string
}

export interface DeniedAttempts {
  /** Resolves when it stands in the log. Never rejects: the answer is a refusal either way. */
  note(attempt: DeniedAttempt): Promise<void>
}

export interface DeniedAttemptsOptions {
  readonly database: Database
  readonly logger: Logger
  /** Milliseconds. @default performance.now */
  readonly now?: () => number
}

/** Within this time the same attempt by the same principal is counted, not written. */
const dampenMs = 60_000

/**
 * Writes who tried to change what they may not. Who tries again and again does not fill the log: their next row says how
 * often it was.
 */
export function createDeniedAttempts(options: DeniedAttemptsOptions): DeniedAttempts {
  const { database, logger, now = () => performance.now() } = options
  const written = new LRUCache<string, { readonly at: number; repeated: number }>({ max: 10_000 })
  return {
    note: async ({ tenant, actor, ...attempt }) => {
      const key = JSON.stringify([tenant, actor, attempt.method, attempt.route, attempt.code])
      const before = written.get(key)
      if (before && now() - before.at < dampenMs) {
        before.repeated++
        return
      }
      written.set(key, { at: now(), repeated: 0 })
      const data = { ...attempt, ...(before && before.repeated > 0 && { repeated: before.repeated }) }
      try {
        await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
          appendNote(tx, { type: 'request.denied', actor, data }),
        )
      } catch (error) {
        written.delete(key)
        logger.error('a denied attempt could not be written into the log', { tenant, actor, ...attempt, error })
      }
    },
  }
}
