import { vi } from 'vitest'

/** Resolves once `check` holds; asked every 2 ms, fails after 20 s. */
export function until(check: () => boolean | Promise<boolean>): Promise<boolean> {
  return vi.waitUntil(check, { interval: 2, timeout: 20_000 })
}
