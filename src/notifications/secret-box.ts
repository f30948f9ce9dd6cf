import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

/** Seals secrets with a key that is not in the database. */
export interface SecretBox {
  /** `about` names what the secret belongs to: sealed for one thing, it does not open for another. */
  seal(secret: string, about: string): string
  /** Throws where the key or the owner is another one, or the text was changed. */
  open(sealed: string, about: string): string
}

/** AES-256-GCM under a key of 32 bytes. */
export function createSecretBox(key: Buffer): SecretBox {
  if (key.length !== 32) throw new Error(`The key for secrets has 32 bytes, not ${key.length}`)
  return {
    seal: (secret, about) => {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(about))
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
      return `v1.${Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64')}`
    },
    open: (sealed, about) => {
      if (!sealed.startsWith('v1.')) throw new Error('This is not a sealed secret')
      const bytes = Buffer.from(sealed.slice(3), 'base64')
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAAD(Buffer.from(about))
      decipher.setAuthTag(bytes.subarray(-16))
      return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('utf8')
    },
  }
}
