import { useLiveState } from './sluice-provider.tsx'

/** Milliseconds between readings while no live connection stands. */
const fallbackMs = 5_000
/** Why a task waits may change without an event of its own (its place in the queue). */
const unfinishedMs = 15_000

export interface Freshness {
  /** Changes do not arrive by themselves at the moment; what is shown may be some seconds old. */
  readonly stale: boolean
  /** Milliseconds until data is read again without being told to; false for never. */
  readonly refetchInterval: (unfinished: boolean) => number | false
}

/** How often to read when nothing is heard: seldom while live, every few seconds while not. */
export function useFreshness(): Freshness {
  const state = useLiveState()
  return {
    // Connecting is the first second of a page, not a failure.
    stale: state === 'reconnecting',
    refetchInterval: (unfinished) => (state === 'open' ? unfinished && unfinishedMs : fallbackMs),
  }
}
