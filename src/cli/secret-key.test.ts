import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findSecretKey } from './secret-key.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sluice-key-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

test('beside an embedded database a key is made once, for its owner only', async () => {
  const key = await findSecretKey({ dataDir, embedded: true }, undefined)
  expect(key).toHaveLength(32)
  expect(await findSecretKey({ dataDir, embedded: true }, '')).toEqual(key)
  expect((await stat(join(dataDir, 'secret.key'))).mode & 0o777).toBe(0o600)
})

test('the variable wins; beside another database nothing is made', async () => {
  const given = Buffer.alloc(32, 5)
  expect(await findSecretKey({ dataDir, embedded: true }, given.toString('base64'))).toEqual(given)
  expect(await findSecretKey({ dataDir, embedded: false }, undefined)).toBeUndefined()
  await expect(findSecretKey({ dataDir, embedded: false }, 'c2hvcnQ=')).rejects.toThrow(/32 bytes/)
})
