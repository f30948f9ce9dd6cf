import type { Clock } from './clock.ts'
import type { Delivery } from './pub-sub.ts'

export interface DeliveryTerms {
  readonly attempt: number
  readonly timeoutMs: number
  /** Aborts when the subscription stops or the delivery is no longer ours. */
  readonly signal: AbortSignal
  readonly clock: Clock
}

export type DeliveryOutcome = { readonly ok: true } | { readonly ok: false; readonly error: unknown }

/**
 * Runs the handling of one event. Settles when the handler does, or at the timeout: a handler that hangs would otherwise
 * hold back its subscription for ever. It never rejects.
 */
export async function deliverEvent(
  work: (delivery: Delivery) => Promise<void>,
  terms: DeliveryTerms,
): Promise<DeliveryOutcome> {
  const timeout = new AbortController()
  let cancel = () => {}
  const timedOut = new Promise<DeliveryOutcome>((resolve) => {
    cancel = terms.clock.setTimer(terms.timeoutMs, () => {
      const error = new Error(`The handler took longer than ${terms.timeoutMs} ms`)
      timeout.abort(error)
      resolve({ ok: false, error })
    })
  })
  const signal = AbortSignal.any([timeout.signal, terms.signal])
  // In a function of its own, so that a handler that throws before its first await counts as failed too.
  const handled = (async () => work({ attempt: terms.attempt, signal }))().then(
    (): DeliveryOutcome => ({ ok: true }),
    (error: unknown): DeliveryOutcome => ({ ok: false, error }),
  )
  try {
    return await Promise.race([handled, timedOut])
  } finally {
    cancel()
  }
}
