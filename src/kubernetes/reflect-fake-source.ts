import { FakeWatchSource } from './fake-watch-source.ts'
import { ManualClock, rest } from './manual-clock.ts'
import { Reflector, type ReflectorOptions } from './reflector.ts'

const running: Reflector[] = []

/** Ends what `reflect` began: after each test. */
export async function stopReflectors(): Promise<void> {
  await Promise.all(running.splice(0).map((reflector) => reflector.stop()))
}

/** A reflector over a fake source, on a clock that stands still; what it tells is in `state`. Without jitter. */
export async function reflect(
  options: Partial<ReflectorOptions> & { readonly prepare?: (source: FakeWatchSource) => void } = {},
) {
  const clock = new ManualClock()
  const source = new FakeWatchSource(clock)
  options.prepare?.(source)
  const told: string[] = []
  const state = { told, synced: 0, unavailable: [] as string[], awaited: true, retries: [] as number[] }
  const streaming = { supported: source.streaming === 'offered' }
  const reflector = new Reflector({
    collection: { source, ref: { apiVersion: 'test.dev/v1', kind: 'Thing' }, basePath: '' },
    slim: false,
    clock,
    // No jitter: lists every 24 s, delays exactly 0.8 s, 1.6 s, …
    random: () => 0,
    logger: { debug: () => {}, warn: () => {} },
    streaming,
    isAwaited: () => state.awaited,
    onChange: ({ type, object }) => told.push(`${type} ${object.metadata.name} ${object.metadata.resourceVersion}`),
    onSynced: () => (state.synced += 1),
    onUnavailable: (error) => {
      state.unavailable.push(error.message)
      state.retries.push(clock.now())
    },
    ...options,
  })
  running.push(reflector)
  reflector.start()
  await rest()
  return { clock, source, reflector, state, streaming }
}

/** What the cache holds. */
export const namesIn = (reflector: Reflector): string[] =>
  [...reflector.cache.objects()].map(({ metadata }) => metadata.name).toSorted()
