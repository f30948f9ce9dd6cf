import assert from 'node:assert/strict'
import type { Logger } from '../../platform/logger.ts'
import type { ConformanceSuite } from './conformance-case.ts'

export interface WrittenLine {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface LoggerSubject {
  /** At the level `info`. */
  readonly logger: Logger
  /** What has been written since it was asked last. */
  readonly written: () => readonly WrittenLine[]
}

const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U'

/** What every `Logger` promises. */
export const loggerConformance: ConformanceSuite<LoggerSubject> = [
  {
    name: 'writes level, message and fields, and leaves out what is below its level',
    run: async ({ logger, written }) => {
      logger.debug('too detailed')
      logger.info('one', { taskId: 'task_1', nested: { list: [1] } })
      logger.warn('two')
      logger.error('three', { attempt: 2n })
      assert.deepEqual(written(), [
        { level: 'info', message: 'one', fields: { taskId: 'task_1', nested: { list: [1] } } },
        { level: 'warn', message: 'two', fields: {} },
        { level: 'error', message: 'three', fields: { attempt: '2' } },
      ])
    },
  },
  {
    name: 'a child adds its fields, the line wins over them, and the parent stays as it was',
    run: async ({ logger, written }) => {
      const child = logger.child({ taskId: 'task_1', part: 'worker' })
      child.child({ attempt: 1 }).info('from below', { part: 'own' })
      logger.info('from above')
      assert.deepEqual(
        written().map((line) => line.fields),
        [{ taskId: 'task_1', part: 'own', attempt: 1 }, {}],
      )
    },
  },
  {
    name: 'writes errors with type, message, stack, code and cause',
    run: async ({ logger, written }) => {
      const error = Object.assign(new TypeError('outer', { cause: new Error('inner') }), { code: 'E42' })
      logger.error('failed', { error })
      const [line] = written()
      const fields = JSON.parse(JSON.stringify(line?.fields.error))
      assert.equal(fields.type, 'TypeError')
      assert.equal(fields.message, 'outer')
      assert.match(fields.stack, /TypeError: outer\n/)
      assert.equal(fields.code, 'E42')
      assert.equal(fields.cause.message, 'inner')
    },
  },
  {
    name: 'masks secrets by name at any depth, and by shape in any text',
    run: async ({ logger, written }) => {
      const secret = 'hunter2-very-secret'
      logger.child({ apiKey: secret }).info(`calling postgres://app:${secret}@db/x`, {
        password: secret,
        headers: { Authorization: `Bearer ${secret}`, cookie: secret, accept: 'text/plain' },
        list: [{ client_secret: secret }, { 'x-access-token': secret }],
        note: `sent Bearer ${secret} and ${jwt}`,
        key: `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`,
        error: new Error(`connect redis://:${secret}@cache failed`),
        url: new URL(`https://user:${secret}@host/path`),
      })
      const text = JSON.stringify(written())
      assert.ok(!text.includes(secret), text)
      assert.ok(!text.includes(jwt), text)
      for (const kept of ['postgres://app:', '@db/x', 'text/plain', 'connect redis://:']) {
        assert.ok(text.includes(kept), `${kept} should stay readable`)
      }
    },
  },
  {
    name: 'keeps readable what only sounds secret',
    run: async ({ logger, written }) => {
      logger.info('listed', { next_page_token: 'abc', tokenId: 'token_1' })
      assert.deepEqual(written()[0]?.fields, { next_page_token: 'abc', tokenId: 'token_1' })
    },
  },
  {
    name: 'never throws: circular, deep, strange and hostile fields are written as well as can be',
    run: async ({ logger, written }) => {
      const circular: Record<string, unknown> = { name: 'loop' }
      circular['self'] = circular
      let deep: unknown = 'bottom'
      for (let n = 0; n < 50; n++) deep = { deep }
      logger.info('strange', { circular, deep, map: new Map([['a', 1]]), call: () => 1, bytes: Buffer.from('abc') })
      const hostile = {
        get trap() {
          throw new Error('gotcha')
        },
      }
      logger.info('hostile', { hostile })
      const lines = written()
      assert.deepEqual(
        lines.map((line) => line.message),
        ['strange', 'hostile'],
      )
      const fields = lines[0]?.fields
      assert.deepEqual(fields?.circular, { name: 'loop', self: '[circular]' })
      assert.deepEqual(fields?.map, { a: 1 })
      assert.equal(fields?.bytes, '[3 bytes]')
    },
  },
]
