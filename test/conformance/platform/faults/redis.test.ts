import { describe, expect, test } from 'vitest'
import { createRedisCache } from '../../../../src/platform/adapters/redis/redis-cache.ts'
import { connectRedis } from '../../../../src/platform/adapters/redis/redis-connection.ts'
import { createRedisPubSub } from '../../../../src/platform/adapters/redis/redis-pub-sub.ts'
import { createMemoryLogger } from '../../../../src/platform/memory/memory-logger.ts'
import { ServiceUnavailableError } from '../../../../src/platform/platform-error.ts'
import { until } from '../../../helpers/until.ts'
import { redisMissing, redisUrl, startRedis } from '../support/servers.ts'
import { surviveAKill } from '../support/survive-a-kill.ts'
import { startProxy } from '../support/tcp-proxy.ts'

const minute = { ttlMs: 60_000 }

describe('redis, killed and restarted in mid-work', () => {
  test('events: none is lost, errors are clear, and work goes on', async (context) => {
    if (redisMissing !== false) return context.skip(redisMissing)
    const server = await startRedis()
    const pubsub = createRedisPubSub({ url: redisUrl(server), logger: createMemoryLogger() })
    await pubsub.start()
    try {
      await surviveAKill(pubsub, server)
    } finally {
      await pubsub.stop()
      await server.stop()
    }
  }, 120_000)

  test('cache: says that it is away, getOrSet loads meanwhile, and it comes back with what was kept', async (context) => {
    if (redisMissing !== false) return context.skip(redisMissing)
    const server = await startRedis()
    const cache = createRedisCache({ url: redisUrl(server), logger: createMemoryLogger() })
    await cache.start()
    try {
      await cache.set('kept', 'before', minute)
      await server.kill()
      await expect(cache.get('kept')).rejects.toThrow(ServiceUnavailableError)
      await expect(cache.set('new', 1, minute)).rejects.toMatchObject({ code: 'service_unavailable', service: 'redis' })
      await expect(cache.getOrSet('kept', async () => 'loaded', minute)).resolves.toBe('loaded')
      await server.restart()
      await until(() => cache.exists('kept').catch(() => false))
      await expect(cache.get('kept')).resolves.toBe('before')
      await expect(cache.getOrSet('kept', async () => 'loaded', minute)).resolves.toBe('before')
    } finally {
      await cache.stop()
      await server.stop()
    }
  })

  test('events: a server that lost everything gets its subscriptions again', async (context) => {
    if (redisMissing !== false) return context.skip(redisMissing)
    const server = await startRedis()
    const options = { url: redisUrl(server), logger: createMemoryLogger() }
    const pubsub = createRedisPubSub(options)
    await pubsub.start()
    const administrator = await connectRedis(options)
    try {
      const received: unknown[] = []
      await pubsub.subscribe({ topic: 't', name: 's' }, async ({ data }) => void received.push(data))
      await administrator.send('FLUSHALL')
      await until(async () => {
        await pubsub.publish('t', { type: 'x', source: '/faults', data: 'after' })
        return received.length > 0
      })
    } finally {
      await administrator.close()
      await pubsub.stop()
      await server.stop()
    }
  })

  test('a connection whose other end fell silent is replaced', async (context) => {
    if (redisMissing !== false) return context.skip(redisMissing)
    const server = await startRedis()
    const proxy = await startProxy(server.port)
    const url = `redis://127.0.0.1:${proxy.port}`
    const cache = createRedisCache({ url, timeoutMs: 200, logger: createMemoryLogger() })
    await cache.start()
    try {
      await cache.set('kept', 'before', minute)
      proxy.freeze()
      await expect(cache.get('kept')).rejects.toThrow('no answer within 200 ms')
      await until(() => cache.exists('kept').catch(() => false))
    } finally {
      await cache.stop()
      await proxy.stop()
      await server.stop()
    }
  })

  test('start fails at once, saying where, when there is no server', async (context) => {
    if (redisMissing !== false) return context.skip(redisMissing)
    const server = await startRedis()
    await server.stop()
    const url = `redis://user:hunter2@127.0.0.1:${server.port}`
    const cache = createRedisCache({ url, logger: createMemoryLogger() })
    const refused = await cache.start().catch((error: unknown) => error)
    expect(refused).toMatchObject({ message: `Redis cannot be reached at redis://127.0.0.1:${server.port}` })
    await cache.stop()
  })
})
