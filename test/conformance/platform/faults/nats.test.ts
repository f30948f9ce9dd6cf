import { describe, expect, test } from 'vitest'
import { createNatsPubSub } from '../../../../src/platform/adapters/nats/nats-pub-sub.ts'
import { createMemoryLogger } from '../../../../src/platform/memory/memory-logger.ts'
import { natsMissing, natsServers, startNats } from '../support/servers.ts'
import { surviveAKill } from '../support/survive-a-kill.ts'

describe('nats, killed and restarted in mid-work', () => {
  test('events: none is lost, errors are clear, and work goes on', async (context) => {
    if (natsMissing !== false) return context.skip(natsMissing)
    const server = await startNats()
    const options = { servers: natsServers(server), timeoutMs: 1_000, logger: createMemoryLogger() }
    const pubsub = createNatsPubSub(options)
    await pubsub.start()
    try {
      await surviveAKill(pubsub, server)
    } finally {
      await pubsub.stop()
      await server.stop()
    }
  }, 120_000)

  test('start fails, saying where, when there is no server', async (context) => {
    if (natsMissing !== false) return context.skip(natsMissing)
    const server = await startNats()
    await server.stop()
    const pubsub = createNatsPubSub({ servers: natsServers(server), logger: createMemoryLogger() })
    await expect(pubsub.start()).rejects.toThrow(`NATS cannot be reached at ${natsServers(server)}`)
    await pubsub.stop()
  })
})
