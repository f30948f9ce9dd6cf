import { describe, expect, test } from 'vitest'
import { duration, localTimes, shortTarget } from './task-text.ts'

describe('a duration', () => {
  test.each([
    [0, '0 ms'],
    [-5, '0 ms'],
    [999, '999 ms'],
    [1000, '1.0 s'],
    [12_345, '12.3 s'],
    [59_949, '59.9 s'],
    [59_960, '1 min 00 s'],
    [245_000, '4 min 05 s'],
    [3_600_000, '1 h 0 min'],
    [3_599_990, '1 h 0 min'],
    [180_000_000, '2 d 2 h'],
  ])('of %d ms is %s', (ms, text) => {
    expect(duration(ms)).toBe(text)
  })
  test.each([
    [0, '0 s'],
    [12_999, '12 s'],
    [61_000, '1 min 01 s'],
  ])('of %d ms in whole seconds is %s', (ms, text) => {
    expect(duration(ms, { whole: true })).toBe(text)
  })
})

test.each([
  ['default:resourcemanager.miloapis.com/Project//acme', 'acme'],
  ['prod:kubevirt.io/VirtualMachine/team-a/web', 'team-a/web'],
  [null, ''],
])('the short form of target %s is %s', (target, text) => {
  expect(shortTarget(target)).toBe(text)
})

test('times in a sentence become local ones, and nothing else changes', () => {
  const at = new Date()
  const sentence = `Waiting for Project acme-2026-01-01 to be ready, until ${at.toISOString()}.`
  expect(localTimes(sentence)).toBe(
    `Waiting for Project acme-2026-01-01 to be ready, until ${at.toLocaleTimeString()}.`,
  )
})
