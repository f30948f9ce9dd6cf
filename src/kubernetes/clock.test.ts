import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from './clock.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('systemClock', () => {
  test('waits as long as it was told, also for months', () => {
    let fired = 0
    const months = 90 * 86_400_000
    systemClock.after(months, () => (fired += 1))
    vi.advanceTimersByTime(months - 1)
    expect(fired).toBe(0)
    vi.advanceTimersByTime(1)
    expect(fired).toBe(1)
  })

  test('a time that has passed is now', () => {
    let fired = 0
    systemClock.after(-5, () => (fired += 1))
    vi.advanceTimersByTime(0)
    expect(fired).toBe(1)
  })

  test('can be cancelled at any time', () => {
    let fired = 0
    const cancel = systemClock.after(60 * 86_400_000, () => (fired += 1))
    vi.advanceTimersByTime(30 * 86_400_000)
    cancel()
    cancel()
    vi.advanceTimersByTime(90 * 86_400_000)
    expect(fired).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})
