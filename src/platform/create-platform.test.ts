import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createConfig, createPlatform } from './create-platform.ts'
import { createTestPlatform } from './create-test-platform.ts'
import { createManualClock } from './clock.ts'
import { secretSetting } from './config.ts'

const cache = {
  capabilities: { shared: false, survivesRestart: false },
  get: async () => undefined,
  set: async () => undefined,
  delete: async () => false,
  exists: async () => false,
  getOrSet: async <T>(_: string, load: () => Promise<T>) => load(),
}

describe('createPlatform', () => {
  test('gives nine services; those with a default work, the others say what to pass', async () => {
    const platform = createPlatform()
    await platform.start()
    await platform.cache.set('k', 1, { ttlMs: 1_000 })
    expect(await platform.cache.get('k')).toBe(1)
    expect(await platform.featureFlags.isEnabled('any', {}, true)).toBe(true)
    expect(await platform.tracer.withSpan('s', async () => platform.tracer.currentTraceId())).toMatch(/^[0-9a-f]{32}$/)
    await expect(platform.secrets.get('none')).rejects.toMatchObject({ code: 'secret_not_found' })
    expect(platform.config.describe()).toEqual([])
    const refused = (property: string) => ({
      message: `There is no ${property}: pass \`${property}\` to createPlatform`,
    })
    await expect(platform.db.query('select 1')).rejects.toMatchObject(refused('db'))
    await expect(platform.pubsub.publish('t', { type: 't', source: '/', data: 1 })).rejects.toMatchObject(
      refused('pubsub'),
    )
    await expect(platform.objectStorage.head('k')).rejects.toMatchObject(refused('objectStorage'))
    await platform.stop()
  })

  test('hands out the settings, typed and masked', () => {
    const schema = z.object({ token: secretSetting(z.string()), retries: z.number().default(3) })
    const platform = createPlatform({ config: createConfig({ schema, env: { TOKEN: 'hunter2' } }) })
    const retries: number = platform.config.get('retries')
    expect([retries, platform.config.get('token')]).toEqual([3, 'hunter2'])
    expect(JSON.stringify(platform.config)).not.toContain('hunter2')
  })

  test('log lines carry the trace id of the span they are written in', async () => {
    let text = ''
    const platform = createPlatform({ logger: { adapter: 'pino', destination: { write: (line) => (text += line) } } })
    const traceId = await platform.tracer.withSpan('work', async (span) => {
      platform.logger.info('inside')
      return span.traceId
    })
    platform.logger.info('outside')
    const lines = text
      .trim()
      .split('\n')
      .map((line) => z.looseObject({}).parse(JSON.parse(line)))
    expect(lines.map((line) => line['traceId'])).toEqual([traceId, undefined])
  })

  test('starts in order, stops in the opposite one, and each once', async () => {
    const steps: string[] = []
    const own = (name: string) => ({
      start: async () => void steps.push(`start ${name}`),
      stop: async () => void steps.push(`stop ${name}`),
    })
    const platform = createPlatform({
      cache: { adapter: 'own', service: { ...cache, ...own('cache') } },
      secrets: {
        adapter: 'own',
        service: {
          capabilities: { liveWatch: false },
          get: async () => '',
          list: async () => [],
          watch: async () => ({ stop: async () => undefined }),
          ...own('secrets'),
        },
      },
    })
    await Promise.all([platform.start(), platform.start()])
    await Promise.all([platform.stop(), platform.stop()])
    expect(steps).toEqual(['start secrets', 'start cache', 'stop cache', 'stop secrets'])
  })

  test('a service that cannot start has those before it stopped again', async () => {
    const steps: string[] = []
    const platform = createPlatform({
      cache: {
        adapter: 'own',
        service: { ...cache, start: async () => void steps.push('start'), stop: async () => void steps.push('stop') },
      },
      pubsub: { adapter: 'redis', url: 'redis://127.0.0.1:1' },
      logger: { adapter: 'pino', destination: { write: () => undefined } },
    })
    await expect(platform.start()).rejects.toMatchObject({ code: 'service_unavailable', service: 'redis' })
    expect(steps).toEqual(['start', 'stop'])
    await platform.stop()
    expect(steps).toEqual(['start', 'stop'])
  })

  test('refuses at once what does not fit together', () => {
    expect(() => createPlatform({ pubsub: { adapter: 'pg-boss' } })).toThrow(/pass db: \{ adapter: 'postgres'/)
  })

  test('loads no library of an adapter that is not used', async () => {
    const script = `
      import { registerHooks } from 'node:module'
      const loaded = new Set()
      registerHooks({ load(url, context, next) {
        const name = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url)?.[1]
        if (name) loaded.add(name)
        return next(url, context)
      } })
      const { createPlatform } = await import(${JSON.stringify(new URL('index.ts', import.meta.url).href)})
      const platform = createPlatform({ logger: { adapter: 'pino' } })
      await platform.start()
      await platform.stop()
      console.log(JSON.stringify([...loaded].sort()))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
    const loaded = z.array(z.string()).parse(JSON.parse(stdout))
    expect(loaded).toContain('pino')
    const heavy = /redis|nats|aws|smithy|openfeature|sdk-trace|exporter|pglite|kubernetes|^pg$|pg-boss|kysely/
    expect(loaded.filter((name) => heavy.test(name))).toEqual([])
  })
})

describe('createTestPlatform', () => {
  test('nine twins on one clock', async () => {
    const clock = createManualClock()
    const platform = createTestPlatform({ clock, secrets: { 'api-key': 's' }, flags: { on: true } })
    await platform.start()
    await platform.cache.set('k', 1, { ttlMs: 30 })
    await clock.advance(29)
    expect(await platform.cache.exists('k')).toBe(true)
    await clock.advance(1)
    expect(await platform.cache.exists('k')).toBe(false)
    expect(await platform.secrets.get('api-key')).toBe('s')
    expect(await platform.featureFlags.isEnabled('on')).toBe(true)
    await platform.tracer.withSpan('s', async () => platform.logger.info('line'))
    expect(platform.logger.lines[0]?.fields).toEqual({ traceId: platform.tracer.spans[0]?.traceId })
    const { lastModified } = await platform.objectStorage.put('o', 'x')
    expect(lastModified.getTime()).toBe(clock.now())
    await platform.stop()
  })

  test('an event published in a transaction comes when it commits, and not when it rolls back', async () => {
    const platform = createTestPlatform()
    await platform.start()
    const received: unknown[] = []
    await platform.pubsub.subscribe({ topic: 't', name: 's' }, async ({ data }) => void received.push(data))
    const publish = (data: string, fail: boolean) =>
      platform.db.withTx(async (tx) => {
        await tx.execute('create table if not exists done (what text)')
        await tx.execute('insert into done values ($1)', [data])
        await platform.pubsub.publish('t', { type: 'done', source: '/', data }, { tx })
        if (fail) throw new Error('undo')
      })
    await publish('kept', false)
    await expect(publish('undone', true)).rejects.toThrow('undo')
    await expect.poll(() => received).toEqual(['kept'])
    expect(await platform.db.query('select what from done')).toEqual([{ what: 'kept' }])
    await platform.stop()
  }, 60_000)
})
