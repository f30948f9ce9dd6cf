import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { developmentTokensPath, keepDevelopmentTokens, readDevelopmentTokens } from './development-tokens.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-tokens-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('development tokens', () => {
  test('are three different ones of 256 bits, in a file for its owner alone', async () => {
    const tokens = await keepDevelopmentTokens(folder)
    expect(new Set(Object.values(tokens)).size).toBe(3)
    for (const token of Object.values(tokens)) expect(Buffer.from(token, 'base64url')).toHaveLength(32)
    expect(JSON.parse(await readFile(developmentTokensPath(folder), 'utf8'))).toEqual(tokens)
    expect((await stat(developmentTokensPath(folder))).mode & 0o777).toBe(0o600)
  })

  test('are kept over restarts, and their file is closed again where it was opened', async () => {
    const tokens = await keepDevelopmentTokens(folder)
    await chmod(developmentTokensPath(folder), 0o644)
    expect(await keepDevelopmentTokens(folder)).toEqual(tokens)
    expect((await stat(developmentTokensPath(folder))).mode & 0o777).toBe(0o600)
  })

  test.each(['', '{"requester":"a","approver":"b","admin":"c"}', '[]', '{'])(
    'are made anew for %j',
    async (content) => {
      await writeFile(developmentTokensPath(folder), content)
      expect(await readDevelopmentTokens(folder)).toBeUndefined()
      expect((await keepDevelopmentTokens(folder)).admin).toHaveLength(43)
    },
  )
})
