import { useSyncExternalStore } from 'react'

let now = Date.now()
let timer: ReturnType<typeof setInterval> | undefined
const listeners = new Set<() => void>()

/** The time, to the second, redrawn every second while `ticking`. One timer serves every clock on the page. */
export function useNow(ticking: boolean): number {
  return useSyncExternalStore(ticking ? listen : ignore, () => now)
}

function listen(listener: () => void): () => void {
  if (listeners.size === 0) {
    now = Date.now()
    timer = setInterval(() => {
      now = Date.now()
      for (const redraw of listeners) redraw()
    }, 1000)
  }
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) clearInterval(timer)
  }
}

function ignore(): () => void {
  return () => {}
}
