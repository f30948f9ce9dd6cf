import type { Operation } from '../operations/define-operation.ts'
import type { FeatureFlags, FlagValue } from '../platform/feature-flags.ts'

/** What the flags of an operation are, for one who asks for it. */
export interface PinnedFlags {
  /** Kept with the task: what `perform` goes by, however the flags change meanwhile. */
  readonly values: Readonly<Record<string, FlagValue>>
  /** The flag that the operation is behind, when it is off. */
  readonly off?: string
}

export interface FlagAsker {
  readonly operation: Operation
  readonly tenant: string
  readonly actor: string
  readonly roles?: readonly string[] | undefined
}

const none: PinnedFlags = { values: {} }

/** Asks for the flags that an operation names; for nothing where it names none. Without a provider each is its default. */
export async function pinFlags(featureFlags: FeatureFlags | undefined, asker: FlagAsker): Promise<PinnedFlags> {
  const { flag, flags = {}, type } = asker.operation
  if (flag === undefined && Object.keys(flags).length === 0) return none
  const context = {
    targetingKey: asker.actor,
    principal: asker.actor,
    tenant: asker.tenant,
    operation: type,
    roles: (asker.roles ?? []).join(','),
  }
  const values: Record<string, FlagValue> = {}
  for (const [name, fallback] of Object.entries(flags)) {
    values[name] = featureFlags ? await featureFlags.getValue(name, fallback, context) : fallback
  }
  if (flag === undefined) return { values }
  const on = featureFlags ? await featureFlags.isEnabled(flag, context) : false
  return { values: { ...values, [flag]: on }, ...(!on && { off: flag }) }
}

/** Why a request is refused whose operation is behind a flag. */
export const offReason = (operation: string, flag: string): string =>
  `${operation} is behind the feature flag ${flag}, which is off for you.`
