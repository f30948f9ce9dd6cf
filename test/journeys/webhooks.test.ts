import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient, type SluiceClient } from '../../src/client/index.ts'
import { deliver, dispatchNotifications } from '../../src/notifications/deliver.ts'
import { createIdTracer } from '../../src/platform/propagating-tracer.ts'
import type { WorkHandle } from '../../src/queue/queue.ts'
import { startTestApi, type TestApi } from '../helpers/api.ts'
import { noop } from '../helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../helpers/governed-core.ts'
import { until } from '../helpers/until.ts'

let core: GovernedCore
let api: TestApi
let client: SluiceClient
let server: Server
let hookUrl: string
let work: WorkHandle
let answer = 200
const received: IncomingHttpHeaders[] = []
const waits: number[] = []

beforeAll(async () => {
  core = await startGovernedCore('version: 1\nrules: [{ name: held, approval: {} }]')
  api = await startTestApi(core, [noop], { mayReach: () => true })
  client = createClient({ baseUrl: await api.app.listen({ host: '127.0.0.1', port: 0 }), token: api.tokens.admin })
  server = createServer((request, response) => {
    received.push(request.headers)
    request.resume()
    response.writeHead(answer).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  hookUrl = `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}/`
  const { queue } = core
  const options = {
    ...core,
    secrets: api.services.secrets,
    logger: api.logger,
    tracer: createIdTracer(),
    mayReach: () => true,
    random: Math.random,
    queue: {
      ...queue,
      // The waits are looked at, and not waited for.
      retry: (...[tx, name, job, { retryInMs }]: Parameters<typeof queue.retry>) => {
        waits.push(retryInMs)
        return queue.retry(tx, name, job, { retryInMs: 0, burn: true })
      },
    },
  }
  work = await queue.work('sluice-deliver', { workers: 1, batchSize: 1 }, (jobs) => deliver(options, jobs))
})
afterAll(async () => {
  await work.stop()
  await api.stop()
  await core.stop()
  await new Promise((resolve) => server.close(resolve))
})

async function tell(): Promise<void> {
  await api.as('requester', 'POST /tasks', { operation: 'test.noop', input: { name: randomUUID() } })
  await dispatchNotifications(core)
  work.wake()
}

test('a program makes a webhook, turns its secret over, reads what was sent, sends it again, and takes it away', async () => {
  const made = await client.createWebhook({ url: hookUrl, kinds: ['approval_pending'] })
  expect(made.secret).toMatch(/^whsec_/)
  const rotated = await client.rotateWebhookSecret(made.webhook_id)
  expect(rotated.secret).not.toBe(made.secret)
  await tell()
  await until(() => received.length === 1)
  // Both secrets sign for a day.
  expect(String(received[0]?.['webhook-signature']).split(' ')).toHaveLength(2)
  await until(async () => (await client.listDeliveries(made.webhook_id))[0]?.state === 'delivered')
  const [delivery] = await client.listDeliveries(made.webhook_id)
  const again = await client.replayDelivery(made.webhook_id, delivery?.delivery_id ?? '')
  expect(again.replay_of).toBe(delivery?.delivery_id)
  work.wake()
  await until(() => received.length === 2)
  expect(await client.changeWebhook(made.webhook_id, { enabled: false })).toMatchObject({ secret: null })
  expect(await client.listWebhooks()).toMatchObject([{ disabled_reason: 'Disabled by admin.' }])
  await client.deleteWebhook(made.webhook_id)
  expect(await client.listWebhooks()).toEqual([])
})

test('a receiver that is away is tried for more than a day, each time a fifth sooner or later', async () => {
  answer = 503
  const { webhook_id: id } = await client.createWebhook({ url: hookUrl, kinds: ['approval_pending'] })
  await tell()
  await until(async () => {
    work.wake()
    return (await client.listDeliveries(id))[0]?.state === 'failed'
  })
  const [delivery] = await client.listDeliveries(id)
  expect(delivery?.tries.map(({ status }) => status)).toEqual(Array(8).fill(503))
  const schedule = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000].map((seconds) => seconds * 1_000)
  expect(schedule.reduce((sum, ms) => sum + ms)).toBeGreaterThan(24 * 3_600_000)
  expect(waits).toHaveLength(schedule.length)
  waits.forEach((ms, i) => {
    const planned = schedule[i] ?? 0
    expect(ms).toBeGreaterThanOrEqual(planned * 0.8)
    expect(ms).toBeLessThan(planned * 1.2)
  })
  expect(waits.some((ms, i) => ms !== schedule[i])).toBe(true)
})
