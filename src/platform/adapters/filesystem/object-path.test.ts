import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { requireObjectKey } from '../../object-key.ts'
import { folderOfPrefix, keyOfPath, pathOfKey } from './object-path.ts'

const keys = fc
  .array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join('/'))
  .filter((key) => {
    try {
      requireObjectKey(key)
      return true
    } catch {
      return false
    }
  })

describe('object storage: paths of keys', () => {
  test('every key has a path that leads back to it', () => {
    fc.assert(
      fc.property(keys, (key) => {
        expect(keyOfPath(pathOfKey(key))).toBe(key)
      }),
    )
  })

  test('no path leaves its folder, and no name is too long for a file system', () => {
    const long = ['ä'.repeat(500), 'x'.repeat(1_000), `${'y'.repeat(400)}/${'z'.repeat(400)}`]
    fc.assert(
      fc.property(fc.oneof(keys, fc.constantFrom(...long)), (key) => {
        expect(keyOfPath(pathOfKey(key))).toBe(key)
        for (const name of pathOfKey(key).split('/')) {
          expect(name).not.toMatch(/^\.{0,2}$/)
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(203)
        }
      }),
    )
  })

  test('no key is the folder of another, and a prefix names a folder that holds all its keys', () => {
    fc.assert(
      fc.property(keys, keys, (a, b) => {
        if (a !== b) expect(`${pathOfKey(b)}/`.startsWith(`${pathOfKey(a)}/`)).toBe(false)
        expect(pathOfKey(`${a}/${b}`).startsWith(`${folderOfPrefix(`${a}/`)}/`)).toBe(true)
      }),
    )
  })
})
