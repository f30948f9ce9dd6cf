import { describe, expect, test } from 'vitest'
import { ManualClock } from './manual-clock.ts'

describe('ManualClock', () => {
  test('fires timers in the order of their times, at their times', async () => {
    const clock = new ManualClock(0)
    const fired: string[] = []
    clock.after(20, () => fired.push(`b@${clock.now()}`))
    clock.after(10, () => fired.push(`a@${clock.now()}`))
    clock.after(40, () => fired.push('late'))
    await clock.advance(30)
    expect(fired).toEqual(['a@10', 'b@20'])
    expect(clock.now()).toBe(30)
    expect(clock.pending).toBe(1)
  })

  test('fires timers that were set while it advanced', async () => {
    const clock = new ManualClock(0)
    const fired: number[] = []
    const again = (): void => {
      fired.push(clock.now())
      if (fired.length < 3) clock.after(10, again)
    }
    clock.after(10, again)
    await clock.advance(100)
    expect(fired).toEqual([10, 20, 30])
  })

  test('a cancelled timer does not fire, and cancelling twice is harmless', async () => {
    const clock = new ManualClock(0)
    let fired = false
    const cancel = clock.after(10, () => (fired = true))
    cancel()
    cancel()
    await clock.advance(100)
    expect(fired).toBe(false)
  })
})
