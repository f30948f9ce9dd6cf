import { describe, expect, test } from 'vitest'
import { createManualClock, delay, systemClock } from './clock.ts'

describe('clock', () => {
  test('a manual clock runs what falls due, in order of time, and what that sets off', async () => {
    const clock = createManualClock(0)
    const ran: string[] = []
    clock.setTimer(30, () => ran.push(`c at ${clock.now()}`))
    clock.setTimer(10, () => {
      ran.push(`a at ${clock.now()}`)
      clock.setTimer(10, () => ran.push(`b at ${clock.now()}`))
    })
    const cancel = clock.setTimer(15, () => ran.push('cancelled'))
    cancel()
    await clock.advance(25)
    expect(ran).toEqual(['a at 10', 'b at 20'])
    expect(clock.now()).toBe(25)
    await clock.advance(5)
    expect(ran).toEqual(['a at 10', 'b at 20', 'c at 30'])
  })

  test('delay says whether the time is over or the signal came first', async () => {
    const clock = createManualClock()
    const over = delay(clock, 10)
    const stop = new AbortController()
    const stopped = delay(clock, 1_000, stop.signal)
    await clock.advance(10)
    stop.abort()
    await expect(Promise.all([over, stopped, delay(clock, 1, stop.signal)])).resolves.toEqual([true, false, false])
    await expect(delay(systemClock, 1)).resolves.toBe(true)
  })
})
