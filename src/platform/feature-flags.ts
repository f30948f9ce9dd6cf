export type FlagValue = string | number | boolean | readonly FlagValue[] | { readonly [key: string]: FlagValue }

/** Whom a flag is asked for. Values decide rules; they are not stored. */
export interface FlagContext {
  /** Who or what is counted in a percentage rule, for example the user or the task. */
  readonly targetingKey?: string
  readonly [attribute: string]: string | number | boolean | undefined
}

/**
 * Switches that change without a release. Asking never throws and never waits for a network: an unknown flag, a flag of
 * another type and a provider that fails all answer the default, and the reason is logged.
 */
export interface FeatureFlags {
  /** @param fallback answered when the flag cannot be evaluated, `false` by default */
  isEnabled(flag: string, context?: FlagContext, fallback?: boolean): Promise<boolean>
  /** The flag's value if it has the fallback's type, else the fallback. */
  getValue<T extends FlagValue>(flag: string, fallback: T, context?: FlagContext): Promise<T>
}
