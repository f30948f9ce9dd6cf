import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ConfigError, secretSetting } from '../../config.ts'
import { createEnvConfig, type EnvConfigOptions } from './env-config.ts'

const schema = z.object({
  databaseUrl: secretSetting(z.url()),
  port: z.number().int().min(1).max(65_535).default(8080),
  verbose: z.boolean().default(false),
  hosts: z.array(z.string()).default([]),
  ports: z.array(z.number()).default([]),
  labels: z.record(z.string(), z.string()).optional(),
  sessionKey: secretSetting(z.string().min(8)).optional(),
  httpURLPrefix: z.string().default('/'),
})
const url = 'postgres://app:hunter2@db/app'

describe('config: env and file', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-config-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const write = async (name: string, text: string) => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }
  const problemsOf = (options: Omit<EnvConfigOptions<typeof schema>, 'schema'>) => {
    try {
      createEnvConfig({ schema, ...options })
    } catch (error) {
      if (error instanceof ConfigError) return error
      throw error
    }
    throw new Error('the configuration was accepted')
  }

  test('text becomes what the schema wants', () => {
    const env = {
      DATABASE_URL: url,
      PORT: '9090',
      VERBOSE: 'Yes',
      HOSTS: 'a, b,c',
      PORTS: '1,2',
      LABELS: '{"team":"x"}',
      HTTP_URLPREFIX: '/api',
    }
    const config = createEnvConfig({ schema, env })
    expect(config.get('port')).toBe(9090)
    expect(config.get('verbose')).toBe(true)
    expect(config.get('hosts')).toEqual(['a', 'b', 'c'])
    expect(config.get('ports')).toEqual([1, 2])
    expect(config.get('labels')).toEqual({ team: 'x' })
    expect(config.get('sessionKey')).toBeUndefined()
    expect(config.get('httpURLPrefix')).toBe('/api')
  })

  test('given values win over variables, variables over the file, the file over defaults', async () => {
    const file = await write('order.yaml', 'port: 1\nverbose: true\nhosts: [file]\n')
    const env = { SLUICE_DATABASE_URL: url, SLUICE_PORT: '2', SLUICE_HOSTS: 'env', PORT: '99' }
    const config = createEnvConfig({ schema, prefix: 'SLUICE_', env, file, values: { port: 3, hosts: undefined } })
    expect([config.get('port'), config.get('hosts'), config.get('verbose')]).toEqual([3, ['env'], true])
    const sources = Object.fromEntries(config.describe().map((entry) => [entry.key, entry.source]))
    expect(sources).toMatchObject({ port: 'given', hosts: 'environment', verbose: 'file', ports: 'default' })
  })

  test('an empty variable counts as not set', () => {
    expect(createEnvConfig({ schema, env: { DATABASE_URL: url, PORT: '' } }).get('port')).toBe(8080)
  })

  test('every problem is reported at once, with how to set what is wrong', async () => {
    const file = await write('wrong.yaml', 'prot: 1\nhosts: 7\n')
    const env = { PORT: 'eighty', VERBOSE: 'perhaps', PORTS: '1,x' }
    const { problems, message, code } = problemsOf({ env, file })
    expect(code).toBe('config_invalid')
    expect(problems.map(({ key, where }) => `${key} ${where}`).sort()).toEqual(
      [
        'databaseUrl DATABASE_URL',
        `hosts ${file}`,
        'port PORT',
        'ports.1 PORTS',
        `prot ${file}`,
        'verbose VERBOSE',
      ].sort(),
    )
    expect(message).toContain('6 problem(s)')
    expect(message).toContain('databaseUrl (DATABASE_URL): is missing')
    expect(message).toContain('is not a setting; check its spelling')
  })

  test('a given value that is no setting is a problem, and so is a file that cannot be read', () => {
    const { problems } = problemsOf({ env: { DATABASE_URL: url }, file: join(folder, 'absent'), values: { prot: 1 } })
    expect(problems.map((problem) => problem.key)).toEqual(['*', 'prot'])
  })

  test('a secret is never shown: not in problems, descriptions, JSON or console output', () => {
    const wrong = problemsOf({ env: { DATABASE_URL: 'hunter2', SESSION_KEY: 'tiny' } })
    expect(wrong.message).not.toContain('hunter2')
    expect(wrong.message).not.toContain('tiny')
    expect(wrong.problems).toHaveLength(2)
    const config = createEnvConfig({ schema, env: { DATABASE_URL: url } })
    expect(config.get('databaseUrl')).toBe(url)
    for (const shown of [JSON.stringify(config), inspect(config), JSON.stringify(config.describe())]) {
      expect(shown).not.toContain('hunter2')
      expect(shown).toContain('[secret]')
    }
  })

  test('a secret may come from a file that a variable names', async () => {
    const path = await write('database-url', `${url}\n`)
    expect(createEnvConfig({ schema, env: { DATABASE_URL_FILE: path } }).get('databaseUrl')).toBe(url)
    const { problems } = problemsOf({ env: { DATABASE_URL_FILE: join(folder, 'nowhere') } })
    expect(problems).toMatchObject([{ key: 'databaseUrl', where: 'DATABASE_URL_FILE' }])
    expect(problems[0]?.message).toMatch(/^cannot be read/)
  })
})
