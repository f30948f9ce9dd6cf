import { describe, expect, test } from 'vitest'
import type { Caller } from '../identity/principal.ts'
import { HttpProblem } from './problems.ts'
import { createRequestLimits } from './request-limits.ts'

const caller = (name: string, tenant = 'acme'): Caller => ({
  principal: { name, tenants: [tenant], roles: [] },
  tenant,
  permissions: new Set(),
})

/** What a request gets: nothing, or the seconds after which to come back. */
function outcome(take: () => void): number | undefined {
  try {
    take()
    return undefined
  } catch (error) {
    if (error instanceof HttpProblem && error.code === 'too_many_requests') return error.details.retryAfterSeconds
    throw error
  }
}

describe('request limits: a busy caller is told when to come back, the others notice nothing', () => {
  const start = () => {
    let now = 0
    const limits = createRequestLimits({
      principal: { perSecond: 0.5, burst: 3 },
      tenant: { perSecond: 10, burst: 5 },
      now: () => now,
    })
    return {
      take: (who: Caller) => outcome(() => limits.take(who)),
      pass: (ms: number) => (now += ms),
    }
  }

  test('a burst is let through, then one request for each two seconds', () => {
    const { take, pass } = start()
    const ada = caller('ada')
    expect([take(ada), take(ada), take(ada), take(ada)]).toEqual([undefined, undefined, undefined, 2])
    pass(2_000)
    expect([take(ada), take(ada)]).toEqual([undefined, 2])
    pass(1_500)
    expect(take(ada)).toBe(1)
  })

  test('principals count on their own, in each tenant on their own', () => {
    const { take } = start()
    for (let i = 0; i < 4; i++) take(caller('ada'))
    expect(take(caller('bob'))).toBeUndefined()
    expect(take(caller('ada', 'other'))).toBeUndefined()
  })

  test('a tenant has a limit for all its people together; who is over their own takes nothing from it', () => {
    const { take, pass } = start()
    for (let i = 0; i < 20; i++) take(caller('ada'))
    expect([take(caller('bob')), take(caller('bob')), take(caller('bob'))]).toEqual([undefined, undefined, 1])
    pass(1_000)
    expect(take(caller('eve'))).toBeUndefined()
  })
})
