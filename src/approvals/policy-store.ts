import { readFile } from 'node:fs/promises'
import { appendNote } from '../database/append-note.sql.ts'
import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/logger.ts'
import { defaultPolicy } from './default-policy.ts'
import { insertPolicy, type NewVersion, type PolicyVersion, selectPolicies } from './policies.sql.ts'
import { compilePolicy, type Policy } from './policy.ts'

export interface ActivePolicy {
  readonly policy: Policy
  /** Grows with each change; the history keeps them all. */
  readonly version: number
}

/**
 * The active policy: the newest in the database, the same for every process. A process with a policy file writes a new
 * version at its start and whenever the file's text changes; a text that is no policy is told and changes nothing.
 */
export interface PolicyStore {
  active(): ActivePolicy
  /** Newest first. */
  history(limit: number): Promise<PolicyVersion[]>
  /** @throws PolicyError where the very first policy cannot be read */
  start(): Promise<void>
  /** Looks at the file and the database now. */
  look(): Promise<void>
  stop(): Promise<void>
}

export interface PolicyStoreOptions {
  readonly database: Database
  readonly logger: Logger
  /** Whose log says which policy was loaded when, and by whom. */
  readonly platformTenant: string
  /** Path of a YAML file. Without one the database's policy holds; without that, the default one. */
  readonly file?: string
  /** Milliseconds between looks. @default 2_000 */
  readonly pollMs?: number
}

export function createPolicyStore(options: PolicyStoreOptions): PolicyStore {
  const { database, logger, file } = options
  let active: ActivePolicy | undefined
  let readText: string | undefined
  let looking: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  const readSource = async (): Promise<void> => {
    const text = file === undefined ? undefined : await readFile(file, 'utf8')
    if (text === undefined || text === readText) return
    readText = text
    const { digest } = compilePolicy(text)
    await writeVersion(options, { digest, source: text, loadedBy: `file ${file}` })
  }

  const readActive = async (): Promise<void> => {
    const [newest] = await readHistory(database, 1)
    if (!newest || newest.version === active?.version) return
    active = { policy: compilePolicy(newest.source), version: newest.version }
    logger.info('policy is active', { version: newest.version, digest: newest.digest, by: newest.loaded_by })
  }

  const look = (): Promise<void> =>
    (looking ??= (async () => {
      try {
        await readSource()
      } catch (error) {
        logger.error('the policy file cannot be used; the policy before it stays active', { file, error })
      }
      await readActive()
    })().finally(() => {
      looking = undefined
    }))

  return {
    active: () => {
      if (!active) throw new Error('the policy is asked for before it was read')
      return active
    },
    history: (limit) => readHistory(database, limit),
    start: async () => {
      if (file === undefined) await writeFirst(options)
      else await readSource()
      await readActive()
      timer = setInterval(() => {
        look().catch((error: unknown) => logger.warn('the policy could not be read; trying again', { error }))
      }, options.pollMs ?? 2_000)
    },
    look,
    stop: async () => {
      clearInterval(timer)
      await looking?.catch(() => undefined)
    },
  }
}

function writeVersion({ database, platformTenant: tenant }: PolicyStoreOptions, version: NewVersion): Promise<void> {
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const number = await insertPolicy(tx, version)
    if (number === undefined) return
    const data = { version: number, digest: version.digest }
    await appendNote(tx, { type: 'policy.loaded', actor: version.loadedBy, data })
  })
}

async function writeFirst(options: PolicyStoreOptions): Promise<void> {
  const [standing] = await readHistory(options.database, 1)
  if (standing) return
  const { digest } = compilePolicy(defaultPolicy)
  await writeVersion(options, { digest, source: defaultPolicy, loadedBy: 'default' })
}

function readHistory(database: Database, limit: number): Promise<PolicyVersion[]> {
  return database.transaction({ role: 'sluice_api' }, (tx) => selectPolicies(tx, limit))
}
