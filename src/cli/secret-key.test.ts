import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findSecretKeys } from './secret-key.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sluice-key-'))
})
afterEach(() => rm(dataDir, { recursive: true }))

test('beside an embedded database a key is made once, for its owner only', async () => {
  const keys = await findSecretKeys({ dataDir, embedded: true }, undefined)
  expect(keys?.map((key) => key.length)).toEqual([32])
  expect(await findSecretKeys({ dataDir, embedded: true }, '')).toEqual(keys)
  expect((await stat(join(dataDir, 'secret.key'))).mode & 0o777).toBe(0o600)
})

test('the variable wins; beside another database nothing is made', async () => {
  const given = Buffer.alloc(32, 5)
  expect(await findSecretKeys({ dataDir, embedded: true }, given.toString('base64'))).toEqual([given])
  expect(await findSecretKeys({ dataDir, embedded: false }, undefined)).toBeUndefined()
  await expect(findSecretKeys({ dataDir, embedded: false }, 'c2hvcnQ=')).rejects.toThrow(/32 bytes/)
})

test('several keys: the first seals, the others open', async () => {
  const [next, last] = [Buffer.alloc(32, 6), Buffer.alloc(32, 5)]
  const variable = `${next.toString('base64')}, ${last.toString('base64')}`
  expect(await findSecretKeys({ dataDir, embedded: false }, variable)).toEqual([next, last])
  await writeFile(join(dataDir, 'secret.key'), `${next.toString('base64')}\n${last.toString('base64')}\n`)
  expect(await findSecretKeys({ dataDir, embedded: true }, undefined)).toEqual([next, last])
  await expect(findSecretKeys({ dataDir, embedded: false }, `${variable},c2hvcnQ=`)).rejects.toThrow(/32 bytes/)
})
