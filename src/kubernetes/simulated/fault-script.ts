import { seededRandom, systemClock, type SimulatedClock } from './clock.ts'
import { injectFault } from './fault-endpoint.ts'
import type { FaultInjector } from './faults.ts'
import type { JsonObject } from './json.ts'

/** One fault of a script, in the form that `/simulate/faults` takes. */
export interface FaultStep {
  /** Milliseconds from the script's start. */
  readonly atMs: number
  readonly fault: JsonObject
}

export type FaultName =
  | 'cut'
  | 'halfOpen'
  | 'gone410'
  | 'tooManyRequests'
  | 'error500'
  | 'malformedJson'
  | 'slow'
  | 'restart'
  | 'futureResourceVersion'

export interface FaultScriptOptions {
  /** Milliseconds over which faults are spread. @default 5_000 */
  readonly durationMs?: number
  /** @default 10 */
  readonly steps?: number
  /** @default all */
  readonly faults?: readonly FaultName[]
  /** Only requests and watches of this resource are hit, such as `projects`. @default all */
  readonly resource?: string
}

const allFaults: readonly FaultName[] = [
  'cut',
  'halfOpen',
  'gone410',
  'tooManyRequests',
  'error500',
  'malformedJson',
  'slow',
  'restart',
  'futureResourceVersion',
]

/** A random sequence of faults; equal seeds give equal scripts. */
export function createFaultScript(seed: number, options: FaultScriptOptions = {}): readonly FaultStep[] {
  const { durationMs = 5_000, steps = 10, faults = allFaults, resource } = options
  const random = seededRandom(seed)
  const whole = (least: number, most: number): number => least + Math.floor(random() * (most - least + 1))
  const script = Array.from({ length: steps }, (): FaultStep => {
    const atMs = whole(0, durationMs)
    const name = faults[whole(0, faults.length - 1)] ?? 'cut'
    return {
      atMs,
      fault: { fault: name, ...details(name, whole), ...(resource === undefined ? {} : scope(name, resource)) },
    }
  })
  return script.toSorted((left, right) => left.atMs - right.atMs)
}

/** Injects a script's faults in time. Resolves after the last one, or when the signal fires. */
export async function runFaultScript(
  faults: FaultInjector,
  script: readonly FaultStep[],
  options: { readonly signal?: AbortSignal; readonly clock?: SimulatedClock } = {},
): Promise<void> {
  const clock = options.clock ?? systemClock
  const start = clock.now()
  for (const { atMs, fault } of script) {
    await until(start + atMs - clock.now(), clock, options.signal)
    if (options.signal?.aborted === true) return
    injectFault(faults, fault)
  }
}

function details(name: FaultName, whole: (least: number, most: number) => number): JsonObject {
  switch (name) {
    case 'tooManyRequests':
      return { retryAfter: 1, count: whole(1, 5) }
    case 'error500':
    case 'malformedJson':
      return { count: whole(1, 5) }
    case 'slow':
      return { ms: whole(10, 500), count: whole(1, 20) }
    case 'restart':
      return { downMs: whole(0, 500) }
    case 'futureResourceVersion':
      return { by: whole(100, 10_000) }
    case 'cut':
    case 'halfOpen':
    case 'gone410':
      return {}
  }
}

/** Faults of the whole server hit everybody. */
function scope(name: FaultName, resource: string): JsonObject {
  return name === 'restart' || name === 'futureResourceVersion' ? {} : { resource }
}

function until(delayMs: number, clock: SimulatedClock, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      cancel()
      signal?.removeEventListener('abort', finish)
      resolve()
    }
    const cancel = clock.schedule(finish, Math.max(0, delayMs))
    signal?.addEventListener('abort', finish)
    if (signal?.aborted === true) finish()
  })
}
