import { expect, test } from 'vitest'
import type { AttemptAborted } from './abort-reason.ts'
import { createRunningAttempts } from './running-attempts.ts'

const never = new AbortController().signal
// Every abort here has a reason of this type.
const whyOf = (signal: AbortSignal) => (signal.aborted ? (signal.reason as AttemptAborted).why : 'runs')

test('a shutdown reaches the attempts that run, and the one that starts a moment later', () => {
  const running = createRunningAttempts()
  const before = running.start('a', never)
  expect(whyOf(before.signal)).toBe('runs')
  running.abortAll('shutdown')
  expect([before, running.start('b', never)].map(({ signal }) => whyOf(signal))).toEqual(['shutdown', 'shutdown'])
})

test('a cancel reaches every run of its task, with who asked for it, and no other', () => {
  const running = createRunningAttempts()
  const [first, again, other] = [running.start('a', never), running.start('a', never), running.start('b', never)]
  again.end()
  running.cancel('a', 'rita')
  expect([first, again, other].map(({ signal }) => whyOf(signal))).toEqual(['cancel', 'runs', 'runs'])
  expect(first.signal.reason).toMatchObject({ by: 'rita' })
  first.end()
  expect(running.taskIds()).toEqual(['b'])
})
