import type { FeatureFlags, FlagContext, FlagValue } from '../feature-flags.ts'

/** A flag's value, or how it follows from the context. */
export type MemoryFlag = FlagValue | ((context: FlagContext) => FlagValue)

export interface MemoryFeatureFlags extends FeatureFlags {
  /** Sets or, with `undefined`, removes a flag. */
  change(flag: string, value: MemoryFlag | undefined): void
}

/** Flags in memory. A flag that throws, is absent or has another type answers the fallback, as the real one does. */
export function createMemoryFeatureFlags(initial: Readonly<Record<string, MemoryFlag>> = {}): MemoryFeatureFlags {
  const flags = new Map(Object.entries(initial))
  const evaluate = <T extends FlagValue>(flag: string, fallback: T, context: FlagContext): T => {
    const rule = flags.get(flag)
    try {
      const value = typeof rule === 'function' ? rule(context) : rule
      // Of the same kind as the fallback, which is all that its type promises.
      return hasKindOf(value, fallback) ? (structuredClone(value) as T) : fallback
    } catch {
      return fallback
    }
  }
  return {
    isEnabled: async (flag, context = {}, fallback = false) => evaluate<boolean>(flag, fallback, context),
    getValue: async (flag, fallback, context = {}) => evaluate(flag, fallback, context),
    change: (flag, value) => {
      if (value === undefined) flags.delete(flag)
      else flags.set(flag, value)
    },
  }
}

function hasKindOf(value: FlagValue | undefined, fallback: FlagValue): boolean {
  return value !== undefined && typeof value === typeof fallback && Array.isArray(value) === Array.isArray(fallback)
}
