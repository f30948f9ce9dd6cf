import { AsyncLocalStorage } from 'node:async_hooks'

/** Where a change comes from: stands in every event that it writes, beside the actor. */
export interface RequestSource {
  /** Of the network; null where nobody came over one. */
  readonly address: string | null
  /** What was shown to be let in; `database`: who can write to it, by the command line. */
  readonly via: 'token' | 'session' | 'provider' | 'development' | 'database'
  /** The token, also that of the session which was made with it. */
  readonly token_id?: string
  readonly trace_id?: string
  /** Why, in the caller's words. */
  readonly reason?: string
}

const sources = new AsyncLocalStorage<RequestSource>()

/**
 * Every event that `work` appends says where it came from. Held beside the call instead of passed along: a use case that
 * forgot to pass it would leave a hole in the audit that nobody sees.
 */
export function withSource<T>(source: RequestSource, work: () => T): T {
  return sources.run(source, work)
}

/** `{ source }` of the request under way, to be spread into an event's payload; empty for what nobody asked for. */
export function sourceField(): { readonly source?: RequestSource } {
  const source = sources.getStore()
  return source ? { source } : {}
}
