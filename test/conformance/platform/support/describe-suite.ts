import { afterAll, beforeAll, beforeEach, describe, test } from 'vitest'
import type { ConformanceSuite } from '../../../../src/testing/platform-conformance.ts'

export interface Fixture<Subject> {
  readonly subject: Subject
  /** Before each case. */
  readonly reset?: () => Promise<void>
  readonly stop: () => Promise<void>
}

export interface DescribeOptions {
  /** Why this implementation cannot be tested here, or `false`. */
  readonly skip?: string | false
}

/** Runs a conformance suite on one implementation. Cases that it does not claim are skipped, saying why. */
export function describeSuite<Subject>(
  name: string,
  suite: ConformanceSuite<Subject>,
  setup: () => Promise<Fixture<Subject>>,
  { skip = false }: DescribeOptions = {},
): void {
  describe(name, () => {
    let fixture: Fixture<Subject> | undefined
    beforeAll(async () => {
      if (skip === false) fixture = await setup()
    })
    beforeEach(() => fixture?.reset?.())
    afterAll(() => fixture?.stop())
    for (const item of suite) {
      test(item.name, async (context) => {
        if (!fixture) return context.skip(skip || 'its set-up failed')
        const reason = item.unclaimed?.(fixture.subject)
        if (reason !== undefined) return context.skip(`${name} ${reason}`)
        await item.run(fixture.subject)
      })
    }
  })
}
