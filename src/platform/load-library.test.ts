import { describe, expect, test } from 'vitest'
import { MissingLibraryError } from './platform-error.ts'
import { loadLibrary } from './load-library.ts'

describe('libraries that only one adapter needs', () => {
  test('a package that is not installed is one clear error', async () => {
    const name = 'a-package-that-nobody-published'
    const missing = loadLibrary(name, 'example', () => import(name))
    await expect(missing).rejects.toBeInstanceOf(MissingLibraryError)
    await expect(missing).rejects.toThrow(
      'The example adapter needs the package "a-package-that-nobody-published", which is not installed. Run: npm install a-package-that-nobody-published',
    )
  })

  test('a fault inside an installed package is not taken for a missing one', async () => {
    const fault = Object.assign(new Error("Cannot find package 'inner' imported from redis"), {
      code: 'ERR_MODULE_NOT_FOUND',
    })
    await expect(loadLibrary('redis', 'redis', () => Promise.reject(fault))).rejects.toBe(fault)
  })
})
