/** One promise of an interface, as a check that any test runner can run. It fails by throwing. */
export interface ConformanceCase<Subject> {
  readonly name: string
  /** Why this subject need not pass, from the capabilities that it declares; `undefined` when it must. */
  readonly unclaimed?: (subject: Subject) => string | undefined
  readonly run: (subject: Subject) => Promise<void>
}

export type ConformanceSuite<Subject> = readonly ConformanceCase<Subject>[]

const deadlineMs = 20_000

/** Resolves once `check` holds; asked every 5 ms. @throws after 20 s, with `what` */
export async function eventually(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + deadlineMs
  while (!(await check())) {
    if (performance.now() > giveUpAt) throw new Error(`Not within ${deadlineMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

let count = 0

/** A name that no other case, run or process uses. */
export function uniqueName(prefix: string): string {
  count++
  return `${prefix}-${process.pid.toString(36)}-${Date.now().toString(36)}-${count}`
}

/** A promise and the function that resolves it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}
