import type { Lifecycle } from '../lifecycle.ts'
import { requireSecretName } from '../secret-name.ts'
import { type SecretChange, SecretNotFoundError, type Secrets } from '../secrets.ts'

export interface MemorySecrets extends Secrets, Lifecycle {
  /** Sets or, with `undefined`, removes a secret, and tells those who watch it. */
  change(name: string, value: string | undefined): void
}

/** Secrets in memory. @param initial values by name */
export function createMemorySecrets(initial: Readonly<Record<string, string>> = {}): MemorySecrets {
  const values = new Map(Object.entries(initial))
  const watches = new Set<{ readonly name: string; readonly listener: (change: SecretChange) => void }>()
  for (const name of values.keys()) requireSecretName(name)
  return {
    capabilities: { liveWatch: true },
    get: async (name) => {
      requireSecretName(name)
      const value = values.get(name)
      if (value === undefined) throw new SecretNotFoundError(name, 'memory')
      return value
    },
    list: async (prefix = '') => [...values.keys()].filter((name) => name.startsWith(prefix)).sort(),
    watch: async (name, listener) => {
      requireSecretName(name)
      const watch = { name, listener }
      watches.add(watch)
      listener({ name, value: values.get(name) })
      return { stop: async () => void watches.delete(watch) }
    },
    change: (name, value) => {
      requireSecretName(name)
      if (values.get(name) === value) return
      if (value === undefined) values.delete(name)
      else values.set(name, value)
      for (const watch of watches) if (watch.name === name) watch.listener({ name, value })
    },
    start: async () => {},
    stop: async () => watches.clear(),
  }
}
