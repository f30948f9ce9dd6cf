import { readFile } from 'node:fs/promises'
import type { Provider } from '@openfeature/server-sdk'
import { delay, systemClock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { InvalidArgumentError } from '../../platform-error.ts'
import { loadLibrary } from '../../load-library.ts'

export interface FileProviderOptions {
  readonly file?: string
  readonly pollMs?: number
  readonly logger: Logger
}

/** An OpenFeature provider over a flag file. A change that cannot be read leaves the flags as they were. */
export async function createFileProvider(options: FileProviderOptions): Promise<Provider> {
  const { file, pollMs = 1_000, logger } = options
  if (file === undefined) throw new InvalidArgumentError('The feature flags need a `file` or a `provider`')
  const library = '@openfeature/flagd-core'
  const { FlagdCore } = await loadLibrary(library, 'openfeature', () => import('@openfeature/flagd-core'))
  const core = new FlagdCore()
  const stopping = new AbortController()
  let text = await readFile(file, 'utf8')
  try {
    core.setConfigurations(text)
  } catch (cause) {
    throw new InvalidArgumentError(`The flag file ${file} cannot be used: ${String(cause)}`)
  }

  const watching = (async () => {
    // By content: mounted files change by moving links, which neither file events nor times tell reliably.
    while (await delay(systemClock, pollMs, stopping.signal)) {
      try {
        const now = await readFile(file, 'utf8')
        if (now === text) continue
        text = now
        core.setConfigurations(now)
        logger.info('The feature flags changed', { file })
      } catch (error) {
        logger.error('The changed flag file cannot be used; the flags stay as they were', { file, error })
      }
    }
  })()

  return {
    metadata: { name: 'sluice flag file' },
    runsOn: 'server',
    resolveBooleanEvaluation: async (flag, fallback, context) => core.resolveBooleanEvaluation(flag, fallback, context),
    resolveStringEvaluation: async (flag, fallback, context) => core.resolveStringEvaluation(flag, fallback, context),
    resolveNumberEvaluation: async (flag, fallback, context) => core.resolveNumberEvaluation(flag, fallback, context),
    resolveObjectEvaluation: async (flag, fallback, context) => core.resolveObjectEvaluation(flag, fallback, context),
    onClose: async () => {
      stopping.abort()
      await watching
    },
  }
}
