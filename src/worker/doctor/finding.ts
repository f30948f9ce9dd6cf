import type { Pool } from 'pg'

/** What one look found. */
export interface Finding {
  readonly check:
    'schema' | 'processes' | 'clock skew' | 'backlog' | 'signals' | 'long transactions' | 'dead tuples' | 'bloat'
  readonly state: 'ok' | 'warn' | 'fail'
  /** A sentence. */
  readonly found: string
  /** What to do; null where nothing is to be done. */
  readonly advice: string | null
  /** False: the other looks would only fail for the same reason. */
  readonly readable?: boolean
}

interface Limit {
  readonly warn: number
  readonly fail: number
}

export interface HealthLimits {
  /** Of one table, beside at least a fifth of its live rows for a warning, and as many as these for a failure. */
  readonly deadTuples: Limit
  /** Of one table, beside at least half of its size. */
  readonly wastedBytes: Limit
  /** How long a job may be due before a worker takes it. */
  readonly oldestJobMs: Limit
  readonly skewMs: Limit
  readonly transactionMs: Limit
  /** From NOTIFY to its arrival. */
  readonly notifyMs: Limit
}

/** What is looked at. */
export interface Patient {
  readonly url: string
  readonly pool: Pool
  readonly limits: HealthLimits
}

export function grade(value: number, limit: Limit): Finding['state'] {
  if (value >= limit.fail) return 'fail'
  return value >= limit.warn ? 'warn' : 'ok'
}

/** The few first of many, as a sentence's end. */
export function listing(names: readonly string[], atMost = 5): string {
  const more = names.length - atMost
  return more > 0 ? `${names.slice(0, atMost).join(', ')} and ${more} more` : names.join(', ')
}
