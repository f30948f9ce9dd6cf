import type { Problem } from '../contract/problem.ts'
import type { ResourceRecord, Wait } from '../operations/define-operation.ts'

/** What became of an attempt. `settle` writes it. */
export type Outcome =
  | { readonly kind: 'completed'; readonly result: Record<string, unknown>; readonly record?: ResourceRecord }
  | { readonly kind: 'waiting'; readonly wait: Wait }
  | {
      readonly kind: 'retrying'
      readonly error: Problem
      readonly retryInMs: number
      readonly burned: boolean
      readonly targetUnavailable?: boolean
    }
  | { readonly kind: 'failed'; readonly error: Problem; readonly deadLettered: boolean }
  | { readonly kind: 'timed_out'; readonly error: Problem }
  | { readonly kind: 'cancelled'; readonly error: Problem }
