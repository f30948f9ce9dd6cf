import { createCipheriv, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createSecretBox } from './secret-box.ts'

const [one, two, three] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2), Buffer.alloc(32, 3)]
const box = createSecretBox(one)

describe('a sealed secret', () => {
  test('opens for what it was sealed, and does not show what it holds', () => {
    const sealed = box.seal('käse & brot', 'webhook/acme/1')
    expect(sealed).not.toContain('brot')
    expect(box.open(sealed, 'webhook/acme/1')).toBe('käse & brot')
    expect(box.open(box.seal('', 'x'), 'x')).toBe('')
    expect(box.seal('a', 'x')).not.toBe(box.seal('a', 'x'))
  })

  test('does not open for another row, another tenant, or another key', () => {
    const sealed = box.seal('secret', 'webhook/acme/1')
    expect(() => box.open(sealed, 'webhook/acme/2')).toThrow()
    expect(() => box.open(sealed, 'webhook/other/1')).toThrow()
    expect(() => createSecretBox(two).open(sealed, 'webhook/acme/1')).toThrow(/sealed with the key [\da-f]{12}, which/)
  })

  test.each(['', 'v2', 'v2.a.b.c', 'v3.x', 'v1.', 'v1.AAAA', 'v2.....', 'secret'])('is not %j', (text) => {
    expect(() => box.open(text, 'x')).toThrow()
  })

  test('no bit of it can be changed', () => {
    const sealed = box.seal('secret', 'x')
    const parts = sealed.split('.')
    for (const i of [2, 3]) {
      const bytes = Buffer.from(parts[i] ?? '', 'base64')
      for (let n = 0; n < bytes.length; n++) {
        const changed = Buffer.from(bytes)
        changed[n] = (changed[n] ?? 0) ^ 1
        expect(() => box.open(parts.with(i, changed.toString('base64')).join('.'), 'x')).toThrow()
      }
    }
  })

  test('parts of two secrets do not make a third', () => {
    const [a, b] = [box.seal('a', 'x').split('.'), box.seal('b', 'x').split('.')]
    expect(() => box.open(a.with(3, b[3] ?? '').join('.'), 'x')).toThrow()
  })
})

describe('keys are replaced', () => {
  test('both open, the first seals, and rewrapping changes the data key’s wrapping alone', () => {
    const old = box.seal('secret', 'x')
    const both = createSecretBox([two, one])
    expect(both.open(old, 'x')).toBe('secret')
    expect([both.keyIdOf(old), both.keyIdOf(both.seal('y', 'x'))]).toEqual([box.keyId, both.keyId])
    const rewrapped = both.rewrap(old)
    expect(rewrapped.split('.')[3]).toBe(old.split('.')[3])
    expect(createSecretBox(two).open(rewrapped, 'x')).toBe('secret')
    expect(() => createSecretBox([three, one]).open(rewrapped, 'x')).toThrow(/not among those/)
  })

  test('a text from before there were data keys opens with any of them', () => {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', one, nonce).setAAD(Buffer.from('x'))
    const text = Buffer.concat([nonce, cipher.update('old'), cipher.final(), cipher.getAuthTag()])
    const sealed = `v1.${text.toString('base64')}`
    const both = createSecretBox([two, one])
    expect([both.open(sealed, 'x'), both.keyIdOf(sealed)]).toEqual(['old', undefined])
    expect(() => createSecretBox(two).open(sealed, 'x')).toThrow()
    expect(() => both.open(sealed, 'y')).toThrow()
  })

  test('a key has 32 bytes', () => {
    expect(() => createSecretBox(Buffer.alloc(31))).toThrow(/32 bytes, not 31/)
    expect(() => createSecretBox([])).toThrow()
  })
})
