import { describe, expect, test } from 'vitest'
import { ManualClock, rest } from './manual-clock.ts'
import {
  continueWaiting,
  rejectWith,
  resolveWith,
  waitForWatch,
  type WatchDecision,
  WatchTimeoutError,
  type WatchWaitOptions,
} from './wait-for-watch.ts'

type Event = 'ready' | 'failed' | 'other' | 'broken'

function setUp(options: Partial<WatchWaitOptions<string, Event>> & { readonly tellsAtOnce?: Event } = {}) {
  const clock = new ManualClock()
  const abort = new AbortController()
  const state = { listener: (_: Event): void => {}, subscribed: 0, unsubscribed: 0 }
  const { tellsAtOnce, ...rest } = options
  const promise = waitForWatch<string, Event>({
    subscribe: (listener) => {
      state.listener = listener
      state.subscribed += 1
      if (tellsAtOnce) listener(tellsAtOnce)
      return { unsubscribe: () => void (state.unsubscribed += 1) }
    },
    onEvent: decide,
    signal: abort.signal,
    clock,
    ...rest,
  })
  // Looked at by the test itself.
  promise.catch(() => {})
  return { promise, clock, abort, state }
}

function decide(event: Event): WatchDecision<string> {
  if (event === 'ready') return resolveWith('done')
  if (event === 'failed') return rejectWith(new Error('it failed'))
  if (event === 'broken') throw new Error('decision broke')
  return continueWaiting
}

describe('waitForWatch always settles, and has unsubscribed by then', () => {
  test('resolved by an event', async () => {
    const { promise, state, clock } = setUp()
    state.listener('other')
    state.listener('ready')
    await expect(promise).resolves.toBe('done')
    expect(state.unsubscribed).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('rejected by an event', async () => {
    const { promise, state, clock } = setUp()
    state.listener('failed')
    await expect(promise).rejects.toThrow('it failed')
    expect(state.unsubscribed).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('decided by the state that is told while subscribing', async () => {
    const { promise, state, clock } = setUp({ tellsAtOnce: 'ready' })
    await expect(promise).resolves.toBe('done')
    expect(state.unsubscribed).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('rejected when the decision throws', async () => {
    const { promise, state } = setUp()
    state.listener('broken')
    await expect(promise).rejects.toThrow('decision broke')
    expect(state.unsubscribed).toBe(1)
  })

  test('rejected by its signal, with the reason', async () => {
    const { promise, state, abort, clock } = setUp()
    abort.abort(new Error('cancelled by a person'))
    await expect(promise).rejects.toThrow('cancelled by a person')
    expect(state.unsubscribed).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('never begun when the signal has fired before', async () => {
    const { promise, state } = setUp({ signal: AbortSignal.abort(new Error('too late')) })
    await expect(promise).rejects.toThrow('too late')
    expect(state.subscribed).toBe(0)
  })

  test('rejected at the deadline, 5 min by default', async () => {
    const { promise, state, clock } = setUp()
    await clock.advance(299_999)
    expect(state.unsubscribed).toBe(0)
    await clock.advance(1)
    await expect(promise).rejects.toThrow(WatchTimeoutError)
    expect(state.unsubscribed).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('rejected when subscribing fails, at once or later', async () => {
    const atOnce = setUp({
      subscribe: () => {
        throw new Error('no such kind')
      },
    })
    await expect(atOnce.promise).rejects.toThrow('no such kind')
    expect(atOnce.clock.pending).toBe(0)
    const later = setUp({ subscribe: () => Promise.reject(new Error('no such kind')) })
    await expect(later.promise).rejects.toThrow('no such kind')
    expect(later.clock.pending).toBe(0)
  })

  test('a subscription that arrives after the end is given back', async () => {
    const { promise: subscription, resolve } = Promise.withResolvers<{ unsubscribe: () => void }>()
    let unsubscribed = 0
    const { promise, abort } = setUp({ subscribe: () => subscription })
    abort.abort(new Error('stop'))
    await expect(promise).rejects.toThrow('stop')
    resolve({ unsubscribe: () => (unsubscribed += 1) })
    await rest()
    expect(unsubscribed).toBe(1)
  })

  test('an unsubscribe that throws does not change the outcome', async () => {
    const { promise } = setUp({
      subscribe: (listener) => {
        queueMicrotask(() => listener('ready'))
        return {
          unsubscribe: () => {
            throw new Error('already closed')
          },
        }
      },
    })
    await expect(promise).resolves.toBe('done')
  })

  test('what comes after the decision is ignored', async () => {
    const { promise, state, abort } = setUp()
    state.listener('ready')
    state.listener('failed')
    state.listener('broken')
    abort.abort()
    await expect(promise).resolves.toBe('done')
    expect(state.unsubscribed).toBe(1)
  })

  test('leaves no listener on a signal that lives on', async () => {
    const abort = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = abort.signal
    abort.signal.addEventListener = (...args: Parameters<AbortSignal['addEventListener']>) => {
      listeners += 1
      addEventListener.apply(abort.signal, args)
    }
    abort.signal.removeEventListener = (...args: Parameters<AbortSignal['removeEventListener']>) => {
      listeners -= 1
      removeEventListener.apply(abort.signal, args)
    }
    const { promise, state } = setUp({ signal: abort.signal })
    expect(listeners).toBe(1)
    state.listener('ready')
    await promise
    expect(listeners).toBe(0)
  })
})

describe('waitForWatch explains a timeout', () => {
  test('with the last event', async () => {
    const { promise, state, clock } = setUp({ timeoutMs: 1000, onTimeout: (last) => new Error(`last seen: ${last}`) })
    state.listener('other')
    await clock.advance(1000)
    await expect(promise).rejects.toThrow('last seen: other')
    expect(clock.pending).toBe(0)
  })

  test('but not for longer than 5 s', async () => {
    const { promise, state, clock } = setUp({ timeoutMs: 1000, onTimeout: () => new Promise(() => {}) })
    await clock.advance(1000)
    expect(state.unsubscribed).toBe(1)
    await clock.advance(5000)
    await expect(promise).rejects.toThrow(WatchTimeoutError)
  })

  test('and plainly when the explanation fails', async () => {
    const { promise, clock } = setUp({
      timeoutMs: 1000,
      onTimeout: () => {
        throw new Error('no idea')
      },
    })
    await clock.advance(1000)
    await expect(promise).rejects.toThrow(WatchTimeoutError)
    expect(clock.pending).toBe(0)
  })
})
