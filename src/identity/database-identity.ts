import { createHash, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Database, Transaction } from '../database/database.ts'
import type { Logger } from '../platform/logger.ts'
import { callerIn } from './caller.ts'
import {
  deleteSession,
  insertOneTimeSecret,
  insertSession,
  type OneTimeRow,
  selectGrants,
  selectLiveToken,
  selectSession,
  takeOneTimeSecret,
  touchTokens,
} from './identity.sql.ts'
import type { Credential, Grant, Identity, Known, OneTimeSecret, Session } from './principal.ts'

export interface DatabaseIdentityOptions {
  readonly database: Database
  readonly logger: Logger
  /** Principals that no table holds. @default none */
  readonly development?: DevelopmentPrincipals
  /** The tenant of those who run the platform: its operators and admins may do what concerns every tenant. @default none */
  readonly platformTenant?: string
  /** Milliseconds for which an answer may be given again without a look at the database. @default 2_000 */
  readonly cacheMs?: number
}

export interface DevelopmentPrincipals {
  /** The name that a bearer token stands for. */
  nameOf(token: string): string | undefined
  /** What a name may do without a role binding. */
  grantsOf(name: string): readonly Grant[]
  /** The code in the link that `sluice start` prints, and whom it lets in. */
  readonly oneTimeCode?: { readonly code: string; readonly name: string }
}

const sessionMs = 12 * 3_600_000
const codeMs = 3_600_000
const passMs = 60_000
/** How often a token's use is written, however often it is used. */
const touchMs = 60_000
const flushMs = 5_000

/**
 * Tokens, roles and sessions in the database, shared by every process. An answer is at most `cacheMs` old, so that a
 * revoked token, a closed session or a lost role is refused everywhere after that time.
 */
export function createDatabaseIdentity(options: DatabaseIdentityOptions): Identity {
  const { database, logger, development } = options
  const recent = new LRUCache<string, Promise<Known | undefined>>({ max: 10_000, ttl: options.cacheMs ?? 2_000 })
  const touches = createTouches(database, logger)
  const inDatabase = <T>(work: (tx: Transaction) => Promise<T>): Promise<T> =>
    database.transaction({ role: 'sluice_api' }, work)

  const look = (key: string, read: (tx: Transaction) => Promise<Known | undefined>): Promise<Known | undefined> => {
    const held = recent.get(key)
    if (held) return held
    const found = inDatabase(read)
    recent.set(key, found)
    // An answer that could not be had says nothing about the next one.
    found.catch(() => recent.delete(key))
    return found
  }
  const reader = createReader(options)

  const bearer = async (token: string): Promise<Known | undefined> => {
    const name = development?.nameOf(token)
    if (name !== undefined) return look(`development ${name}`, (tx) => reader.developmentPrincipal(tx, name))
    const hash = sha256(token)
    const known = await look(`token ${hash.toString('base64')}`, (tx) => reader.token(tx, { hash }))
    if (known?.source.kind === 'token') touches.note(known.source.tokenId)
    return known
  }
  const session = (hash: Buffer): Promise<Known | undefined> =>
    look(`session ${hash.toString('base64')}`, (tx) => reader.session(tx, hash))

  const issue = async (kind: 'code' | 'pass', known: Known): Promise<OneTimeSecret> => {
    const secret = randomBytes(32).toString('base64url')
    const expiresAt = await inDatabase((tx) =>
      insertOneTimeSecret(tx, {
        hash: sha256(secret),
        kind,
        principal: known.name,
        tokenId: known.source.kind === 'token' ? known.source.tokenId : null,
        sessionHash: known.source.kind === 'session' ? known.source.hash : null,
        lifetimeMs: kind === 'code' ? codeMs : passMs,
      }),
    )
    return { secret, expiresAt }
  }

  return {
    start: async () => {
      touches.start()
      const first = development?.oneTimeCode
      if (first === undefined) return
      const row = { principal: first.name, tokenId: null, sessionHash: null }
      await inDatabase((tx) =>
        insertOneTimeSecret(tx, { ...row, hash: sha256(first.code), kind: 'code', lifetimeMs: codeMs }),
      )
    },
    authenticate: async (credential: Credential) => {
      switch (credential.kind) {
        case 'bearer':
          return bearer(credential.token)
        case 'session':
          return session(sha256(credential.id))
        case 'pass':
          return inDatabase(async (tx) => {
            const taken = await takeOneTimeSecret(tx, 'pass', sha256(credential.pass))
            return taken && reader.origin(tx, taken)
          })
      }
    },
    find: async (tenant, name) => {
      const grants = await inDatabase((tx) => reader.grants(tx, name))
      return grants.some((grant) => grant.tenant === tenant) ? callerIn({ name, grants }, tenant) : undefined
    },
    refresh: async (known) => {
      const { source } = known
      switch (source.kind) {
        case 'token':
          return look(`token id ${source.tokenId}`, (tx) => reader.token(tx, { tokenId: source.tokenId }))
        case 'session':
          return session(source.hash)
        case 'development':
          return look(`development ${known.name}`, (tx) => reader.developmentPrincipal(tx, known.name))
      }
    },
    openSession: async (code, previousId) => {
      const id = randomBytes(32).toString('base64url')
      const opened = await inDatabase(async (tx): Promise<Session | undefined> => {
        const taken = await takeOneTimeSecret(tx, 'code', sha256(code))
        if (!taken || !(await reader.origin(tx, taken))) return undefined
        if (previousId !== undefined) await deleteSession(tx, sha256(previousId))
        // A code that was made in a session makes a session of its own, which stands and falls with the same token.
        const made = taken.sessionHash && (await selectSession(tx, taken.sessionHash))
        const { principal } = taken
        const tokenId = made ? made.tokenId : taken.tokenId
        const expiresAt = await insertSession(tx, { hash: sha256(id), principal, tokenId, lifetimeMs: sessionMs })
        const known = await reader.session(tx, sha256(id))
        return known && { id, known, expiresAt }
      })
      if (opened && previousId !== undefined) recent.delete(`session ${sha256(previousId).toString('base64')}`)
      return opened
    },
    closeSession: async (id) => {
      await inDatabase((tx) => deleteSession(tx, sha256(id)))
      recent.delete(`session ${sha256(id).toString('base64')}`)
    },
    issueCode: (known) => issue('code', known),
    issuePass: (known) => issue('pass', known),
    stop: () => touches.stop(),
  }
}

/** What the tables say about each kind of credential. */
function createReader({ development, platformTenant }: DatabaseIdentityOptions) {
  const grants = async (tx: Transaction, name: string): Promise<Grant[]> => {
    const held = [...(development?.grantsOf(name) ?? []), ...(await selectGrants(tx, name))]
    return held.map((grant) => (grant.tenant === platformTenant ? { ...grant, platform: true } : grant))
  }
  const known = (found: Known): Known | undefined => (found.grants.length > 0 ? found : undefined)

  const token = async (tx: Transaction, by: Parameters<typeof selectLiveToken>[1]): Promise<Known | undefined> => {
    const found = await selectLiveToken(tx, by)
    if (!found) return undefined
    return known({
      name: found.principal,
      // A token acts in its own tenant only, whatever else its principal belongs to.
      grants: (await grants(tx, found.principal)).filter(({ tenant }) => tenant === found.tenant),
      ...(found.scopes && { scopes: found.scopes }),
      source: { kind: 'token', tokenId: found.tokenId },
    })
  }
  const developmentPrincipal = async (tx: Transaction, name: string): Promise<Known | undefined> =>
    known({ name, grants: await grants(tx, name), source: { kind: 'development' } })

  const session = async (tx: Transaction, hash: Buffer): Promise<Known | undefined> => {
    const held = await selectSession(tx, hash)
    if (!held) return undefined
    const { principal: name, tokenId } = held
    const found = tokenId === null ? await developmentPrincipal(tx, name) : await token(tx, { tokenId })
    return found && { ...found, source: { kind: 'session', hash, ...(tokenId !== null && { tokenId }) } }
  }
  const origin = async (tx: Transaction, row: OneTimeRow): Promise<Known | undefined> => {
    if (row.sessionHash) return session(tx, row.sessionHash)
    return row.tokenId === null ? developmentPrincipal(tx, row.principal) : token(tx, { tokenId: row.tokenId })
  }
  return { grants, token, developmentPrincipal, session, origin }
}

/** Collects which tokens were used and writes them together: a token in use costs one write a minute. */
function createTouches(database: Database, logger: Logger) {
  const written = new LRUCache<string, true>({ max: 10_000, ttl: touchMs })
  let used = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let flushing: Promise<void> = Promise.resolve()

  const flush = (): void => {
    if (used.size === 0) return
    const tokenIds = [...used]
    used = new Set()
    flushing = flushing
      .then(() => database.transaction({ role: 'sluice_api' }, (tx) => touchTokens(tx, tokenIds)))
      .catch((error: unknown) => logger.warn('the last use of tokens could not be written', { error }))
  }
  return {
    start: () => {
      timer ??= setInterval(flush, flushMs)
    },
    note: (tokenId: string) => {
      if (written.has(tokenId)) return
      written.set(tokenId, true)
      used.add(tokenId)
    },
    stop: async () => {
      clearInterval(timer)
      flush()
      await flushing
    },
  }
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()
