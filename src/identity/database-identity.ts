import { createHash, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Database, Transaction } from '../database/database.ts'
import type { Logger } from '../platform/logger.ts'
import { callerIn } from './caller.ts'
import {
  deleteSession,
  federatedHolder,
  type Holder,
  holderOf,
  insertOneTimeSecret,
  insertSession,
  selectSession,
  takeOneTimeSecret,
  touchTokens,
} from './identity.sql.ts'
import { createKnownReader, type KnownReaderOptions } from './known-reader.ts'
import { tokenPrefix } from './tokens.ts'
import type { Credential, FederatedPerson, Grant, Identity, Known, OneTimeSecret, Session } from './principal.ts'

export interface DatabaseIdentityOptions extends KnownReaderOptions {
  readonly database: Database
  readonly logger: Logger
  /**
   * Says whom a bearer token of the identity provider stands for. Undefined: it is none, or proves nothing. Rejects where
   * the provider does not answer. @default no token is one of a provider's
   */
  readonly verifyForeign?: (
    token: string,
  ) => Promise<{ readonly person: FederatedPerson; readonly expiresAt: Date } | undefined>
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
  const { database, logger, development, verifyForeign } = options
  const recent = new LRUCache<string, Promise<Known | undefined>>({ max: 10_000, ttl: options.cacheMs ?? 2_000 })
  const touches = createTouches(database, logger)
  const inDatabase = <T>(work: (tx: Transaction) => Promise<T>): Promise<T> =>
    database.transaction({ role: 'sluice_api' }, work)

  const remember = (key: string, find: () => Promise<Known | undefined>): Promise<Known | undefined> => {
    const held = recent.get(key)
    if (held) return held
    const found = find()
    recent.set(key, found)
    // An answer that could not be had says nothing about the next one.
    found.catch(() => recent.delete(key))
    return found
  }
  const look = (key: string, read: (tx: Transaction) => Promise<Known | undefined>): Promise<Known | undefined> =>
    remember(key, () => inDatabase(read))
  const reader = createKnownReader(options)

  const bearer = async (token: string): Promise<Known | undefined> => {
    const name = development?.nameOf(token)
    if (name !== undefined) return look(`development ${name}`, (tx) => reader.developmentPrincipal(tx, name))
    const hash = sha256(token)
    if (!token.startsWith(tokenPrefix) && verifyForeign) {
      return remember(`foreign ${hash.toString('base64')}`, async () => {
        const proof = await verifyForeign(token)
        return proof && inDatabase((tx) => reader.federated(tx, proof.person, proof.expiresAt))
      })
    }
    const known = await look(`token ${hash.toString('base64')}`, (tx) => reader.token(tx, { hash }))
    if (known?.source.kind === 'token') touches.note(known.source.tokenId)
    return known
  }
  const session = (hash: Buffer): Promise<Known | undefined> =>
    look(`session ${hash.toString('base64')}`, (tx) => reader.session(tx, hash))

  const issue = async (kind: 'code' | 'pass', known: Known): Promise<OneTimeSecret> => {
    const secret = randomBytes(32).toString('base64url')
    const { source } = known
    const row = {
      ...(source.kind === 'provider' ? federatedHolder(source.person) : holderOf(known.name, tokenIdOf(known))),
      sessionHash: source.kind === 'session' ? source.hash : null,
      proofUntil: source.kind === 'provider' ? source.expiresAt : null,
    }
    const lifetimeMs = kind === 'code' ? codeMs : passMs
    const expiresAt = await inDatabase((tx) =>
      insertOneTimeSecret(tx, { ...row, hash: sha256(secret), kind, lifetimeMs }),
    )
    return { secret, expiresAt }
  }

  const makeSession = async (
    tx: Transaction,
    holder: Holder,
    proofUntil: Date | null,
  ): Promise<Session | undefined> => {
    const id = randomBytes(32).toString('base64url')
    const hash = sha256(id)
    const expiresAt = await insertSession(tx, { ...holder, hash, lifetimeMs: sessionMs, proofUntil })
    const known = await reader.session(tx, hash)
    return known && { id, known, expiresAt }
  }
  const endSession = async (hash: Buffer): Promise<void> => {
    await inDatabase((tx) => deleteSession(tx, hash))
    recent.delete(`session ${hash.toString('base64')}`)
  }

  return {
    start: async () => {
      touches.start()
      const first = development?.oneTimeCode
      if (first === undefined) return
      const row = { ...holderOf(first.name, null), sessionHash: null, proofUntil: null }
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
        case 'provider': {
          const { person, expiresAt } = source
          if (expiresAt.getTime() <= Date.now()) return undefined
          return look(`provider ${JSON.stringify(person)}`, (tx) => reader.federated(tx, person, expiresAt))
        }
      }
    },
    openSession: async (code, previousId) => {
      const opened = await inDatabase(async (tx): Promise<Session | undefined> => {
        const taken = await takeOneTimeSecret(tx, 'code', sha256(code))
        if (!taken || !(await reader.origin(tx, taken))) return undefined
        // A code that was made in a session makes a session of its own, which stands and falls with the same proof.
        const made = taken.sessionHash && (await selectSession(tx, taken.sessionHash))
        return makeSession(tx, made || taken, made && made.issuer !== null ? made.expiresAt : taken.proofUntil)
      })
      if (opened && previousId !== undefined) await endSession(sha256(previousId))
      return opened
    },
    openFederatedSession: async (person, previousHash) => {
      const opened = await inDatabase(async (tx) => {
        const hasRole = (await reader.federated(tx, person, new Date())) !== undefined
        return hasRole ? makeSession(tx, federatedHolder(person), null) : undefined
      })
      if (opened && previousHash !== undefined) await endSession(Buffer.from(previousHash, 'base64url'))
      return opened
    },
    closeSession: (id) => endSession(sha256(id)),
    issueCode: (known) => issue('code', known),
    issuePass: (known) => issue('pass', known),
    stop: () => touches.stop(),
  }
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

const tokenIdOf = ({ source }: Known): string | null => (source.kind === 'token' ? source.tokenId : null)

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()
