import { createHmac, randomUUID } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startTestApi, type TestApi } from '../../../test/helpers/api.ts'
import { noop } from '../../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../../test/helpers/governed-core.ts'
import { until } from '../../../test/helpers/until.ts'
import { deliver, dispatchNotifications } from '../../notifications/deliver.ts'
import { createMailer, type Mailer } from '../../notifications/mailer.ts'
import { createMemoryLogger } from '../../platform/memory/memory-logger.ts'
import { createIdTracer } from '../../platform/propagating-tracer.ts'
import type { WorkHandle } from '../../queue/queue.ts'

interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

let core: GovernedCore
let api: TestApi
let server: Server
let url: string
let work: WorkHandle
let smtp: TcpServer
let mailer: Mailer
const mails: string[] = []
let received: Received[] = []
let answers: number[] = []

beforeAll(async () => {
  core = await startGovernedCore(`version: 1\nrules: [{ name: held, approval: {} }]`)
  // The receiver of these tests stands on loopback.
  api = await startTestApi(core, [noop], { mayReach: () => true, mails: true })
  smtp = startSmtp()
  await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', resolve))
  mailer = createMailer({ url: `smtp://127.0.0.1:${(smtp.address() as AddressInfo).port}`, from: 'sluice@example.com' })
  server = createServer((request, response) => {
    void text(request).then((body) => {
      received.push({ path: request.url ?? '', headers: request.headers, body })
      response.writeHead(answers.shift() ?? 200).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never a pipe's string.
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const options = {
    ...core,
    secrets: api.services.secrets,
    logger: createMemoryLogger(),
    tracer: createIdTracer(),
    mailer,
    mayReach: () => true,
    retryMs: [0, 0],
    random: () => 0,
  }
  work = await core.queue.work('sluice-deliver', { workers: 1, batchSize: 1 }, (jobs) => deliver(options, jobs))
})
afterAll(async () => {
  await work.stop()
  await api.stop()
  await core.stop()
  mailer.stop()
  await new Promise((resolve) => smtp.close(resolve))
  await new Promise((resolve) => server.close(resolve))
})

/** As much of RFC 5321 as one mail needs. */
function startSmtp(): TcpServer {
  return createTcpServer((socket) => {
    let data: string | undefined
    socket.write('220 test\r\n')
    socket.on('data', (chunk) => {
      for (const line of chunk.toString().split('\r\n').slice(0, -1)) {
        if (data === undefined) {
          if (line === 'DATA') data = ''
          socket.write(line === 'DATA' ? '354 go on\r\n' : line === 'QUIT' ? '221 bye\r\n' : '250 fine\r\n')
        } else if (line === '.') {
          mails.push(data)
          data = undefined
          socket.write('250 taken\r\n')
        } else data += `${line}\n`
      }
    })
    socket.on('error', () => socket.destroy())
  })
}

let hook: { webhook_id: string; secret: string }
beforeEach(async () => {
  received = []
  answers = []
  const body = { url: `${url}/hook`, kinds: ['approval_pending'] }
  hook = (await api.as('admin', 'POST /webhooks', body)).body as typeof hook
})
afterEach(() => api.as('admin', `DELETE /webhooks/${hook.webhook_id}`))

/** Asks for something that waits for an approval, and sends what that tells. */
async function tell(): Promise<void> {
  await core.acceptor.accept({
    operation: noop,
    input: { name: randomUUID() },
    options: {},
    tenant: 'default',
    actor: 'requester',
  })
  await dispatchNotifications(core)
  work.wake()
}

const deliveries = async (): Promise<{ delivery_id: string; state: string; tries: { status: number | null }[] }[]> =>
  (await api.as('admin', `GET /webhooks/${hook.webhook_id}/deliveries`)).body['items']
const untilState = (state: string) => until(async () => (work.wake(), (await deliveries())[0]?.state === state))

const sign = (secret: string, { headers, body }: Received) =>
  `v1,${createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update([headers['webhook-id'], headers['webhook-timestamp'], body].join('.'))
    .digest('base64')}`

describe('webhooks', () => {
  test('a message is signed as Standard Webhooks says, and logged', async () => {
    await tell()
    await untilState('delivered')
    const [message] = received
    if (!message) throw new Error('nothing came')
    expect(message.headers['webhook-id']).toMatch(/^msg_/)
    expect(Math.abs(Number(message.headers['webhook-timestamp']) - Date.now() / 1000)).toBeLessThan(60)
    expect(message.headers['webhook-signature']).toBe(sign(hook.secret, message))
    expect(JSON.parse(message.body)).toMatchObject({
      type: 'approval_pending',
      timestamp: expect.stringMatching(/^\d{4}-/),
      data: { actor: 'requester', operation: 'test.noop' },
    })
    expect((await deliveries())[0]?.tries).toMatchObject([{ status: 200 }])
  })

  test('a failure is tried again under the same id; what fails too often ends, and can be replayed', async () => {
    answers = [500, 302, 503]
    await tell()
    await untilState('failed')
    expect((await deliveries())[0]?.tries.map(({ status }) => status)).toEqual([500, 302, 503])
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    const [failed] = await deliveries()
    const replayed = await api.as('admin', `POST /webhooks/${hook.webhook_id}/deliveries/${failed?.delivery_id}/replay`)
    expect(replayed).toMatchObject({ status: 201, body: { replay_of: failed?.delivery_id, state: 'pending' } })
    await untilState('delivered')
    expect(received.at(-1)?.body).toBe(received[0]?.body)
  })

  test('410 disables; nothing is sent until an admin enables it', async () => {
    answers = [410]
    await tell()
    await untilState('failed')
    const [shown] = (await api.as('admin', 'GET /webhooks')).body['items']
    expect(shown).toMatchObject({ disabled_reason: 'The receiver answered 410 Gone.' })
    await tell()
    expect(await deliveries()).toHaveLength(1)
    await api.as('admin', `PATCH /webhooks/${hook.webhook_id}`, { enabled: true })
    await tell()
    await untilState('delivered')
  })

  test('while a secret is replaced both sign; another URL discards both', async () => {
    const { secret } = (await api.as('admin', `POST /webhooks/${hook.webhook_id}/rotate`)).body
    await tell()
    await untilState('delivered')
    const [first] = received
    if (!first) throw new Error('nothing came')
    expect(first.headers['webhook-signature']).toBe(`${sign(secret, first)} ${sign(hook.secret, first)}`)

    const moved = await api.as('admin', `PATCH /webhooks/${hook.webhook_id}`, { url: `${url}/elsewhere` })
    expect(moved.body['secret']).toMatch(/^whsec_/)
    await tell()
    await until(() => received.some(({ path }) => path === '/elsewhere'))
    const second = received.find(({ path }) => path === '/elsewhere')
    expect(second?.headers['webhook-signature']).toBe(second && sign(moved.body['secret'], second))
    // The same URL once more is no other URL.
    expect(
      (await api.as('admin', `PATCH /webhooks/${hook.webhook_id}`, { url: `${url}/elsewhere` })).body,
    ).toMatchObject({
      secret: null,
    })
  })

  test('slack gets a sentence; its URL, which is a secret, is neither shown nor stored in the clear', async () => {
    const { body } = await api.as('admin', 'POST /webhooks', { style: 'slack', url: `${url}/services/T0/B0/XYZ` })
    expect(body).toMatchObject({ url: `${url}/…`, secret: null })
    await tell()
    await until(() => received.some(({ path }) => path === '/services/T0/B0/XYZ'))
    const slack = received.find(({ path }) => path.startsWith('/services'))
    expect(JSON.parse(slack?.body ?? '').text).toMatch(/waits for your approval, asked for by requester$/)
    expect(slack?.headers['webhook-signature']).toBeUndefined()
    const { rows } = await core.database.pool.query(
      `select (w::text || (select string_agg(e::text, '') from sluice.domain_events e)) as everything from sluice.webhooks w`,
    )
    for (const { everything } of rows) {
      expect(everything).not.toContain('T0/B0')
      expect(everything).not.toContain(hook.secret)
    }
    await api.as('admin', `DELETE /webhooks/${body['webhook_id']}`)
  })

  test('e-mail goes through the configured server; a target is one address', async () => {
    const url = 'mailto:team@example.com'
    const { body, status } = await api.as('admin', 'POST /webhooks', { style: 'email', url })
    expect({ status, secret: body['secret'] }).toEqual({ status: 201, secret: null })
    await tell()
    await until(() => mails.length > 0)
    expect(mails[0]).toMatch(/^From: sluice@example\.com$/m)
    expect(mails[0]).toMatch(/^To: team@example\.com$/m)
    expect(mails[0]).toMatch(/^Subject: \[Sluice\] test\.noop of /m)
    expect(mails[0]).toMatch(/^Message-ID: <[0-9a-f-]{36}@sluice>$/m)
    for (const bad of ['https://example.com', 'mailto:a@b.c,d@e.f', 'mailto:a@b.c?bcc=d@e.f', 'mailto:x']) {
      expect(await api.as('admin', 'POST /webhooks', { style: 'email', url: bad })).toMatchObject({ status: 422 })
    }
    await api.as('admin', `DELETE /webhooks/${body['webhook_id']}`)
  })

  test('only admins may, and only public places; a deleted one is gone', async () => {
    expect(await api.as('requester', 'GET /webhooks')).toMatchObject({ status: 403 })
    expect(await api.as('approver', 'POST /webhooks', { url: 'https://example.com' })).toMatchObject({ status: 403 })
    const strict = await startTestApi(core, [noop])
    expect(await strict.as('admin', 'POST /webhooks', { url: 'https://169.254.169.254/' })).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: '/url' }] },
    })
    const mail = await strict.as('admin', 'POST /webhooks', { style: 'email', url: 'mailto:a@example.com' })
    expect(mail).toMatchObject({ status: 422, body: { code: 'no_mail_server' } })
    await strict.stop()
    expect(await api.as('admin', `DELETE /webhooks/${hook.webhook_id}`)).toMatchObject({ status: 204 })
    expect(await api.as('admin', `GET /webhooks/${hook.webhook_id}/deliveries`)).toMatchObject({ status: 404 })
  })
})
