import { describe, expect, test } from 'vitest'
import { raceSignal } from './race-signal.ts'

describe('raceSignal', () => {
  test('gives what the promise gives', async () => {
    const { signal } = new AbortController()
    await expect(raceSignal(Promise.resolve(1), signal)).resolves.toBe(1)
    await expect(raceSignal(Promise.reject(new Error('no')), signal)).rejects.toThrow('no')
    await expect(raceSignal(Promise.resolve(1), undefined)).resolves.toBe(1)
  })

  test('ends with the signal, before or meanwhile', async () => {
    const never = new Promise(() => {})
    await expect(raceSignal(never, AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
    const abort = new AbortController()
    const raced = raceSignal(never, abort.signal)
    abort.abort(new Error('meanwhile'))
    await expect(raced).rejects.toThrow('meanwhile')
  })
})
