import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'

/** Seals secrets for the database with a key that is not in it. */
export interface SecretBox {
  /**
   * `about` names what the secret belongs to, with its tenant: sealed for one row, it does not open in another. The text
   * names the key and holds a data key of its own, wrapped by it.
   */
  seal(secret: string, about: string): string
  /** Throws where the key or the owner is another one, or the text was changed. */
  open(sealed: string, about: string): string
  /** What the texts of today are sealed with. */
  readonly keyId: string
  /** The id of the key that a text was sealed with; undefined of the time before keys had one. */
  keyIdOf(sealed: string): string | undefined
  /** The same secret under today's key: its data key is wrapped anew, and the secret itself is not opened. */
  rewrap(sealed: string): string
}

/** What stands in the place of a secret wherever something that held one is kept or shown. */
export const hiddenSecret = '[secret]'

/** A secret would have to be kept, and no key for it is configured. */
export class NoSecretKeyError extends Error {
  readonly code = 'no_secret_key'
  constructor() {
    super('No key for secrets is configured: set SLUICE_SECRET_KEY (32 bytes, in base64) and restart.')
  }
}

const keyBytes = 32

/**
 * Envelope encryption, AES-256-GCM twice. The first key seals; all of them open, so that a key can be replaced while
 * texts under the one before are still about.
 */
export function createSecretBox(keys: Buffer | readonly Buffer[]): SecretBox {
  const ring = (Array.isArray(keys) ? keys : [keys]).map((key: Buffer) => ({ key, id: keyIdFrom(key) }))
  const [current] = ring
  if (!current) throw new Error('A secret box needs a key')
  const find = (id: string): Buffer => {
    const found = ring.find((one) => one.id === id)
    if (found) return found.key
    throw new Error(`This secret is sealed with the key ${id}, which is not among those in SLUICE_SECRET_KEY`)
  }
  return {
    keyId: current.id,
    seal: (secret, about) => {
      const dataKey = randomBytes(keyBytes)
      return write({
        keyId: current.id,
        wrapped: encrypt(current.key, dataKey, wrapAbout(current.id)),
        text: encrypt(dataKey, Buffer.from(secret, 'utf8'), about),
      })
    },
    open: (sealed, about) => {
      if (sealed.startsWith('v1.')) return openFirstVersion(ring, sealed, about)
      const { keyId, wrapped, text } = read(sealed)
      return decrypt(decrypt(find(keyId), wrapped, wrapAbout(keyId)), text, about).toString('utf8')
    },
    keyIdOf: (sealed) => (sealed.startsWith('v1.') ? undefined : read(sealed).keyId),
    rewrap: (sealed) => {
      const { keyId, wrapped, text } = read(sealed)
      const dataKey = decrypt(find(keyId), wrapped, wrapAbout(keyId))
      return write({ keyId: current.id, wrapped: encrypt(current.key, dataKey, wrapAbout(current.id)), text })
    },
  }
}

/** Tells keys apart, and nothing about them. */
function keyIdFrom(key: Buffer): string {
  if (key.length !== keyBytes) throw new Error(`The key for secrets has ${keyBytes} bytes, not ${key.length}`)
  return createHash('sha256').update('sluice.secret-key').update(key).digest('hex').slice(0, 12)
}

interface Envelope {
  readonly keyId: string
  readonly wrapped: Buffer
  readonly text: Buffer
}

/** `v2.<key id>.<wrapped data key>.<text>`, the last two in base64. */
const write = ({ keyId, wrapped, text }: Envelope): string =>
  `v2.${keyId}.${wrapped.toString('base64')}.${text.toString('base64')}`

function read(sealed: string): Envelope {
  const [version, keyId, wrapped, text, ...more] = sealed.split('.')
  if (version !== 'v2' || keyId === undefined || wrapped === undefined || text === undefined || more.length > 0)
    throw new Error('This is not a sealed secret')
  return { keyId, wrapped: Buffer.from(wrapped, 'base64'), text: Buffer.from(text, 'base64') }
}

// A wrapped key is of no use under the name of another key.
const wrapAbout = (keyId: string): string => `sluice.data-key/${keyId}`

const nonceBytes = 12
const tagBytes = 16

/** Nonce, text and tag. */
function encrypt(key: Buffer, text: Buffer, about: string): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(about))
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: Buffer, bytes: Buffer, about: string): Buffer {
  if (bytes.length < nonceBytes + tagBytes) throw new Error('This is not a sealed secret')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAAD(Buffer.from(about)).setAuthTag(bytes.subarray(-tagBytes))
  return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()])
}

// Sealed with the outer key itself, whichever it was: released before there were data keys.
function openFirstVersion(ring: readonly { readonly key: Buffer }[], sealed: string, about: string): string {
  const bytes = Buffer.from(sealed.slice(3), 'base64')
  let failure: unknown
  for (const { key } of ring) {
    try {
      return decrypt(key, bytes, about).toString('utf8')
    } catch (error) {
      failure = error
    }
  }
  throw failure
}
