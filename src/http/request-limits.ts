import { LRUCache } from 'lru-cache'
import type { Caller } from '../identity/principal.ts'
import { HttpProblem } from './problems.ts'

export interface RequestLimit {
  /** Requests per second that may go on for ever. */
  readonly perSecond: number
  /** Requests that may come at once after a rest. */
  readonly burst: number
}

export interface RequestLimitsOptions {
  /** Of one principal in one tenant. @default 200 a second, 1_000 at once */
  readonly principal?: RequestLimit
  /** Of all principals of a tenant together. @default 1_000 a second, 5_000 at once */
  readonly tenant?: RequestLimit
  /** Milliseconds. @default performance.now */
  readonly now?: () => number
}

const defaultPrincipal: RequestLimit = { perSecond: 200, burst: 1_000 }
const defaultTenant: RequestLimit = { perSecond: 1_000, burst: 5_000 }
/** Who was not heard of for longer than this many others gets a full bucket again. */
const maxBuckets = 20_000

export interface RequestLimits {
  /** Takes one request from the caller's and the tenant's bucket, or throws `HttpProblem` (429) with when to come back. */
  take(caller: Caller): void
}

/**
 * Keeps one busy caller from taking this process away from the others. Counted per process: behind n processes a caller
 * gets up to n times as much. What must hold over all of them (queues, clusters) is limited in the database.
 */
export function createRequestLimits(options: RequestLimitsOptions = {}): RequestLimits {
  const now = options.now ?? (() => performance.now())
  const principals = createBuckets(options.principal ?? defaultPrincipal, now)
  const tenants = createBuckets(options.tenant ?? defaultTenant, now)
  return {
    take: ({ tenant, principal }) => {
      // A principal over its own limit takes nothing from the tenant's.
      refuse(principals.take(`${tenant}/${principal.name}`), `${principal.name} sends`)
      refuse(tenants.take(tenant), `The tenant ${tenant} sends`)
    },
  }
}

function refuse(waitMs: number, who: string): void {
  if (waitMs === 0) return
  const seconds = Math.max(1, Math.ceil(waitMs / 1000))
  throw new HttpProblem('too_many_requests', {
    detail: `${who} more requests than are allowed. Come back in ${seconds} s.`,
    retryAfterSeconds: seconds,
  })
}

interface Bucket {
  tokens: number
  at: number
}

function createBuckets({ perSecond, burst }: RequestLimit, now: () => number) {
  const buckets = new LRUCache<string, Bucket>({ max: maxBuckets })
  return {
    /** Milliseconds until there is room again; 0 when there is now. */
    take: (key: string): number => {
      const at = now()
      const bucket = buckets.get(key) ?? { tokens: burst, at }
      bucket.tokens = Math.min(burst, bucket.tokens + ((at - bucket.at) / 1000) * perSecond)
      bucket.at = at
      buckets.set(key, bucket)
      if (bucket.tokens < 1) return ((1 - bucket.tokens) / perSecond) * 1000
      bucket.tokens -= 1
      return 0
    },
  }
}
