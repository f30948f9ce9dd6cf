import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { z } from 'zod'
import { type Config, ConfigError, secretSetting } from '../../platform/config.ts'
import type { ConformanceSuite } from './conformance-case.ts'

/** The settings that the suite asks for. */
export const conformanceConfig = z.object({
  apiToken: secretSetting(z.string().min(8)),
  port: z.number().int().max(65_535).default(8080),
  verbose: z.boolean().default(false),
  hosts: z.array(z.string()).default([]),
  labels: z.record(z.string(), z.string()).optional(),
})

export interface ConfigSubject {
  /** Reads settings of `conformanceConfig` from wherever the implementation finds them, and nothing from elsewhere. */
  open(settings: Readonly<Record<string, unknown>>): Config<typeof conformanceConfig>
}

const apiToken = 'hunter2-very-secret'

/** What every `Config` promises. */
export const configConformance: ConformanceSuite<ConfigSubject> = [
  {
    name: 'gives what the schema says, with its types and defaults',
    run: async ({ open }) => {
      const config = open({ apiToken, port: 9090, verbose: true, hosts: ['a', 'b'], labels: { team: 'x' } })
      const all = { apiToken, port: 9090, verbose: true, hosts: ['a', 'b'], labels: { team: 'x' } }
      for (const [key, value] of Object.entries(all)) assert.deepEqual(config.get(keyOf(key)), value)
      const least = open({ apiToken })
      assert.deepEqual([least.get('port'), least.get('verbose'), least.get('hosts')], [8080, false, []])
      assert.equal(least.get('labels'), undefined)
    },
  },
  {
    name: 'reports every problem at once, each with its setting and where to set it, and no secret',
    run: async ({ open }) => {
      const secret = 'short'
      const error = errorOf(() => open({ apiToken: secret, port: 70_000, verbose: 'perhaps' }))
      assert.ok(error instanceof ConfigError, String(error))
      assert.equal(error.code, 'config_invalid')
      assert.deepEqual(error.problems.map(({ key }) => key).toSorted(), ['apiToken', 'port', 'verbose'])
      assert.ok(error.problems.every(({ where, message }) => where !== '' && message !== ''))
      for (const { key } of error.problems) assert.ok(error.message.includes(key), error.message)
      assert.ok(!`${error.message} ${JSON.stringify(error.problems)}`.includes(secret), error.message)
    },
  },
  {
    name: 'says which setting is missing',
    run: async ({ open }) => {
      const error = errorOf(() => open({ port: 1 }))
      assert.ok(error instanceof ConfigError, String(error))
      assert.deepEqual(
        error.problems.map(({ key }) => key),
        ['apiToken'],
      )
    },
  },
  {
    name: 'describes every setting and its source, and shows a secret nowhere but to who gets it',
    run: async ({ open }) => {
      const config = open({ apiToken, port: 9090 })
      const described = new Map(config.describe().map(({ key, value, source }) => [key, { value, source }]))
      assert.deepEqual([...described.keys()], Object.keys(conformanceConfig.shape))
      assert.equal(described.get('port')?.value, '9090')
      assert.notEqual(described.get('port')?.source, 'default')
      assert.deepEqual(described.get('verbose'), { value: 'false', source: 'default' })
      assert.equal(described.get('apiToken')?.value, '[secret]')
      for (const shown of [JSON.stringify(config), inspect(config), JSON.stringify(config.describe())]) {
        assert.ok(!shown.includes(apiToken), shown)
      }
      assert.equal(config.get('apiToken'), apiToken)
    },
  },
  {
    name: 'does not change after it was made',
    run: async ({ open }) => {
      const settings = { apiToken, hosts: ['a'], labels: { team: 'x' } }
      const config = open(settings)
      settings.hosts.push('b')
      settings.labels.team = 'y'
      assert.deepEqual([config.get('hosts'), config.get('labels')], [['a'], { team: 'x' }])
    },
  },
]

// They are the schema's own keys.
const keyOf = (key: string) => key as keyof z.output<typeof conformanceConfig>

function errorOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  return assert.fail('the settings were taken')
}
