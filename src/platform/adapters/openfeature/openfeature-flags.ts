import { randomUUID } from 'node:crypto'
import type { Client, EvaluationContext, EvaluationContextValue, JsonValue, Provider } from '@openfeature/server-sdk'
import type { FeatureFlags, FlagContext, FlagValue } from '../../feature-flags.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import type { Logger } from '../../logger.ts'
import { loadLibrary } from '../../load-library.ts'
import { createFileProvider } from './file-provider.ts'

export interface OpenFeatureFlagsOptions {
  /** A flag file in flagd's format (https://flagd.dev/reference/flag-definitions). Read again when it changes. */
  readonly file?: string
  /** Milliseconds between looks at the file. @default 1_000 */
  readonly pollMs?: number
  /** Any OpenFeature provider, instead of a file. */
  readonly provider?: Provider
  readonly logger: Logger
}

/** What is read of the SDK's answer. */
interface Answer {
  readonly value: unknown
  readonly errorCode?: string
}

/** Flags through the OpenFeature SDK, under a domain of their own: the program's other providers stay as they are. */
export function createOpenFeatureFlags(options: OpenFeatureFlagsOptions): FeatureFlags & Lifecycle {
  const { logger } = options
  const domain = `sluice-${randomUUID()}`
  const reported = new Set<string>()
  let client: Client | undefined
  let release = async (): Promise<void> => {}

  const answer = <T extends FlagValue>(flag: string, fallback: T, details: Answer): T => {
    if (details.errorCode !== undefined) {
      // Once per flag and reason: flags are asked for all the time.
      const key = `${flag} ${details.errorCode}`
      if (!reported.has(key)) logger.warn('A flag answers its fallback', { flag, reason: details.errorCode })
      reported.add(key)
      return fallback
    }
    const { value } = details
    const sameKind = typeof value === typeof fallback && Array.isArray(value) === Array.isArray(fallback)
    // Of the same kind as the fallback, which is all that its type promises.
    return sameKind && value !== null ? (structuredClone(value) as T) : fallback
  }

  return {
    isEnabled: async (flag, flagContext, fallback = false) => {
      if (!client) return fallback
      return answer<boolean>(flag, fallback, await client.getBooleanDetails(flag, fallback, toContext(flagContext)))
    },
    getValue: async (flag, fallback, flagContext) => {
      if (!client) return fallback
      return answer(flag, fallback, await ask(client, { flag, fallback, flagContext: toContext(flagContext) }))
    },
    start: async () => {
      if (client) return
      const sdk = await loadLibrary('@openfeature/server-sdk', 'openfeature', () => import('@openfeature/server-sdk'))
      const provider = options.provider ?? (await createFileProvider(options))
      await sdk.OpenFeature.setProviderAndWait(domain, provider)
      client = sdk.OpenFeature.getClient(domain)
      // Replacing the provider closes it.
      release = () => sdk.OpenFeature.setProviderAndWait(domain, sdk.NOOP_PROVIDER)
    },
    stop: async () => {
      client = undefined
      const close = release
      release = async () => {}
      await close()
    },
  }
}

interface Question {
  readonly flag: string
  readonly fallback: FlagValue
  readonly flagContext: EvaluationContext
}

async function ask(client: Client, { flag, fallback, flagContext }: Question): Promise<Answer> {
  if (typeof fallback === 'boolean') return client.getBooleanDetails(flag, fallback, flagContext)
  if (typeof fallback === 'number') return client.getNumberDetails(flag, fallback, flagContext)
  if (typeof fallback === 'string') return client.getStringDetails(flag, fallback, flagContext)
  // A flag value is JSON; the SDK's type differs in being mutable only.
  return client.getObjectDetails(flag, fallback as JsonValue, flagContext)
}

function toContext(flagContext: FlagContext = {}): EvaluationContext {
  const context: Record<string, EvaluationContextValue> = {}
  for (const [name, value] of Object.entries(flagContext)) if (value !== undefined) context[name] = value
  return context
}
