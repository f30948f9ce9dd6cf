import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { z } from 'zod'
import { addClientCommands } from '../../src/cli/client-commands.ts'
import { createDatabase } from '../../src/database/database.ts'
import { grantRole } from '../../src/identity/role-bindings.ts'
import { createToken } from '../../src/identity/tokens.ts'
import { startSimulatedCluster, type SimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { type RunningSluice, startSluice } from '../../src/main.ts'
import { createPinoLogger } from '../../src/platform/adapters/pino/pino-logger.ts'
import { kubeconfig, pair, base64 } from '../helpers/kubeconfigs.ts'
import { type OtlpCollector, startOtlpCollector } from '../helpers/otlp-collector.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { until } from '../helpers/until.ts'

/** Each goes in by its own way, is used, and must come out nowhere but where it is said to. */
const planted = new Map<string, string>()
const plant = (name: string): string => {
  const secret = `plant${randomBytes(12).toString('hex')}`
  planted.set(name, secret)
  return secret
}
/** One that Sluice made itself. */
const keep = (name: string, secret: string): string => {
  planted.set(name, secret)
  return secret
}

interface Sink {
  readonly name: string
  readonly text: string
}
const sinks: Sink[] = []
const seen = (name: string, text: string): void => void sinks.push({ name, text })

const policy = `version: 1
environments: [{ environment: prod, namespaces: [prod] }]
rules:
  - { name: prod, when: "environment == 'prod' && action == 'create'", approval: {} }
  - { name: rest, allow: true }`

let sluice: RunningSluice
let simulated: SimulatedCluster
let collector: OtlpCollector
let folder: string
let adminUrl: string
let role: string
let token: string
let approver: string

beforeAll(async () => {
  collector = await startOtlpCollector()
  simulated = await startSimulatedCluster()
  folder = await mkdtemp(join(tmpdir(), 'sluice-plants-'))
  await writeFile(join(folder, 'policy.yaml'), policy)
  const { url } = await createTestDatabase()
  adminUrl = url
  role = `planted_${randomBytes(4).toString('hex')}`
  const password = plant('database password')
  await administer(`create role ${role} login superuser password '${password}'`)
  const databaseUrl = new URL(url)
  databaseUrl.username = role
  databaseUrl.password = password
  const key = randomBytes(32)
  keep('outer key', key.toString('base64'))
  sluice = await startSluice({
    databaseUrl: databaseUrl.href,
    port: 0,
    poolMax: 12,
    kubeconfig: simulated.kubeconfig(),
    localClusters: true,
    policyFile: join(folder, 'policy.yaml'),
    secretKey: [key],
    devTokens: {
      requester: plant('development token'),
      approver: plant('another development token'),
      admin: 'm'.repeat(43),
    },
    oneTimeCode: plant('one-time code at the start'),
    mail: { url: `smtp://sluice:${plant('SMTP password')}@127.0.0.1:1`, from: 'sluice@example.com' },
    oidc: {
      issuer: 'http://127.0.0.1:1',
      client: { id: 'sluice', secret: plant('OIDC client secret') },
      audience: 'sluice',
    },
    platform: { tracer: { adapter: 'opentelemetry', endpoint: collector.endpoint, exportEveryMs: 50 } as never },
    logger: createPinoLogger({ level: 'debug', destination: { write: (line) => seen('log', line) } }),
  })
  const database = createDatabase({ url, poolMax: 1, poolMin: 0 })
  for (const principal of ['anna', 'bert']) {
    const who = { tenant: 'default', principal, actor: 'founder' }
    await grantRole(database, { ...who, role: 'admin' })
    const made = await createToken(database, { ...who, name: 'test' })
    if (principal === 'anna') token = keep('API token', made.token)
    else approver = keep('token of an approver', made.token)
  }
  await database.stop()
})
afterAll(async () => {
  await sluice?.stop()
  await simulated?.stop()
  await collector?.stop()
  await administer(`drop role if exists ${role}`).catch(() => undefined)
  await rm(folder, { recursive: true, force: true })
})

async function administer(statement: string): Promise<void> {
  const client = new Client({ connectionString: adminUrl })
  await client.connect()
  await client.query(statement)
  await client.end()
}

// oxlint-disable-next-line typescript/no-explicit-any
type Body = any
interface Asked {
  readonly as?: string
  readonly body?: unknown
  readonly raw?: string
  readonly headers?: Record<string, string>
  /** The answer alone may hold what it was asked for. */
  readonly shownOnce?: boolean
}

async function ask(
  line: string,
  { as = token, body, raw, headers = {}, shownOnce = false }: Asked = {},
): Promise<{ status: number; body: Body; headers: Headers }> {
  const [method = 'GET', path = ''] = line.split(' ')
  const response = await fetch(
    path.startsWith('//') ? `${sluice.url}${path.slice(1)}` : `${sluice.url}/api/v1${path}`,
    {
      method,
      headers: {
        ...(as !== '' && { authorization: `Bearer ${as}` }),
        ...((body !== undefined || raw !== undefined) && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(raw !== undefined && { body: raw }),
    },
  )
  const text = await response.text()
  if (!shownOnce) seen(`answer to ${line}`, text + JSON.stringify([...response.headers]))
  const json = /json/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, body: json && text !== '' ? JSON.parse(text) : text, headers: response.headers }
}

async function change(line: string, asked: Asked = {}): Promise<Body> {
  const answer = await ask(line, asked)
  if (answer.status >= 300) throw new Error(`${line} answered ${answer.status}: ${JSON.stringify(answer.body)}`)
  return answer.body
}

const ended = async (taskId: string): Promise<Body> => {
  await until(async () => (await ask(`GET /tasks/${taskId}`)).body.done)
  return (await ask(`GET /tasks/${taskId}`)).body
}

const machine = (name: string, cloudInit: string, namespace = 'default') => ({
  name,
  namespace,
  cpu: 1,
  memory: '1Gi',
  image: 'registry/debian:12',
  cloud_init: cloudInit,
})
const cloudConfig = (password: string) => `#cloud-config\npassword: ${password}\nchpasswd: { expire: false }\n`

describe('twenty and more planted secrets', () => {
  test('go in by every way', async () => {
    const socket = new WebSocket(`${sluice.url.replace('http', 'ws')}/api/v1/live`, {
      headers: { authorization: `Bearer ${token}` },
    })
    socket.on('message', (data) => seen('WebSocket frame', String(data)))
    await new Promise((resolve) => socket.once('open', resolve))
    for (const subscribe of [
      { id: 'a', kind: 'tasks' },
      { id: 'b', kind: 'notifications' },
      { id: 'c', kind: 'resource', api_version: 'kubevirt.io/v1', object_kind: 'VirtualMachine' },
      { id: 'd', kind: 'resource', api_version: 'v1', object_kind: 'Secret' },
    ])
      socket.send(JSON.stringify({ subscribe }))

    // Webhooks: a secret that is shown once, one that replaces it, and a URL that is a password.
    const hook = await change('POST /webhooks', { body: { url: 'https://hooks.example.com/x' }, shownOnce: true })
    keep('webhook secret', hook.secret.replace('whsec_', ''))
    const rotated = await change(`POST /webhooks/${hook.webhook_id}/rotate`, { shownOnce: true })
    keep('webhook secret, rotated', rotated.secret.replace('whsec_', ''))
    const slack = `https://hooks.slack.com/services/${plant('Slack URL')}`
    await change('POST /webhooks', { body: { url: slack, style: 'slack' } })
    await ask('POST /webhooks', { body: { url: `https://user:${plant('password in a webhook URL')}@example.com/` } })
    await change('POST /webhooks', { body: { url: 'mailto:team@example.com', style: 'email' } })

    // Clusters: credentials that are kept, and a kubeconfig that is refused.
    await change('POST /clusters', {
      body: { name: 'token', kubeconfig: kubeconfig({ user: { token: plant('kubeconfig token') } }) },
    })
    const user = {
      'client-certificate-data': base64(pair.certificate ?? ''),
      'client-key-data': base64(pair.key ?? ''),
    }
    await ask('POST /clusters', { body: { name: 'certificate', kubeconfig: kubeconfig({ user }) } })
    keep('kubeconfig client key', (pair.key ?? '').split('\n')[1] ?? '')
    const exec = { command: '/bin/sh', args: ['-c', plant('argument of a refused kubeconfig')] }
    expect(
      (await ask('POST /clusters', { body: { name: 'exec', kubeconfig: kubeconfig({ user: { exec } }) } })).status,
    ).toBe(422)

    // Inputs: alone, in a batch, on a schedule, held for approval, refused, in a manifest.
    const one = await change('POST /vms', { body: machine('one', cloudConfig(plant('cloud-init'))) })
    await ended(one.task_id)
    const dry = await change('POST /vms/dry-run', {
      body: machine('dry', cloudConfig(plant('cloud-init of a dry run'))),
    })
    expect(dry.diff).toContain('userData')
    const items = [{ operation: 'vm.create', input: machine('two', cloudConfig(plant('cloud-init in a batch'))) }]
    await change('POST /tasks/bulk', { body: { items } })
    const scheduled = await change('POST /schedules', {
      body: {
        name: 'nightly',
        cron: '0 2 * * *',
        operation: 'vm.create',
        input: machine('three', cloudConfig(plant('cloud-init on a schedule'))),
      },
    })
    await change(`POST /schedules/${scheduled.schedule_id}/run`)
    const held = await change('POST /vms', {
      body: machine('four', cloudConfig(plant('cloud-init behind a ticket')), 'prod'),
    })
    const ticket = (await ask('GET /approvals', { as: approver })).body.items[0]
    const detail = (await ask(`GET /approvals/${ticket.ticket_id}`, { as: approver })).body
    expect(detail.payload.input.cloud_init).toBe('[secret]')
    await change(`POST /approvals/${ticket.ticket_id}/approve`, {
      as: approver,
      body: { payload_hash: detail.payload_hash },
    })
    await ended(held.task_id)
    await ask('POST /vms', {
      body: { ...machine('Not A Name', cloudConfig(plant('cloud-init of a refused request'))), more: 1 },
    })
    const object = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's', namespace: 'default' },
      stringData: { password: plant('data of a Secret') },
      data: { key: base64(plant('data of a Secret, in base64')) },
    }
    const applied = await change('POST /tasks', { body: { operation: 'resource.apply', input: { object } } })
    await ended(applied.task_id)
    const wrong = {
      ...object,
      metadata: { name: 'wrong', namespace: 'nowhere' },
      stringData: { password: plant('data of a Secret that fails') },
    }
    await ended(
      (await change('POST /tasks', { body: { operation: 'resource.apply', input: { object: wrong } } })).task_id,
    )

    // Credentials: wrong, in the wrong place, made, exchanged.
    await ask('GET /tasks', { as: plant('wrong token') })
    await ask('GET /tasks', { as: '', headers: { cookie: `sluice_session=${plant('wrong session')}` } })
    await ask(`GET //healthz?token=${plant('token in a URL')}`)
    await ask(`GET /nowhere?token=${plant('token in a URL that leads nowhere')}`)
    const broken = await ask('POST /tasks', { raw: `{"operation": "vm.create", "password": ${plant('broken JSON')}` })
    // Not even a part of it.
    expect(broken.body.detail).toBe("The body is not JSON: Unexpected token 'p'.")
    const made = await change('POST /tokens', { body: { name: 'ci' }, shownOnce: true })
    keep('token that was made', made.token)
    await change(`DELETE /tokens/${made.token_id}`)
    const { code } = await change('POST /session/codes', { shownOnce: true })
    keep('one-time code', code)
    const origin = { origin: sluice.url, host: new URL(sluice.url).host }
    const session = await ask('POST /session', { as: '', body: { code }, headers: origin, shownOnce: true })
    const cookie = /=([^;]+)/.exec(session.headers.get('set-cookie') ?? '')?.[1] ?? ''
    keep('session', cookie)
    await ask('GET /tasks', { as: '', headers: { cookie: `sluice_session=${cookie}` } })
    keep('pass', (await change('POST /live/passes', { shownOnce: true })).pass)

    // Everything that shows something is asked for.
    for (const path of [
      '/tasks',
      '/audit?page_size=200',
      '/audit/export',
      '/audit/export?format=csv',
      '/schedules',
      '/clusters',
      '/webhooks',
      '/approvals?state=approved',
      '/notifications',
      '/resources',
      '/tokens',
      '/policies',
      '/me',
      '/workers',
      '/queues',
      '/batches',
      '/dead-letters',
    ])
      await ask(`GET ${path}`)
    await ask(`GET /webhooks/${hook.webhook_id}/deliveries`)
    for (const id of [one.task_id, held.task_id, applied.task_id]) {
      await ask(`GET /tasks/${id}/events`)
      await ask(`GET /tasks/${id}/events`, { headers: { accept: 'text/event-stream' } })
    }
    await ask('GET //metrics')
    await until(() => sinks.some(({ name, text }) => name === 'WebSocket frame' && text.includes('userData')))
    socket.close()
    for (const line of [
      'tasks list --json',
      `tasks get ${one.task_id}`,
      'approvals list --json',
      'audit list',
      'audit export',
      'tokens list',
      'schedules list --json',
    ])
      await runCli(line)
    expect(planted.size).toBeGreaterThanOrEqual(20)
  }, 120_000)

  test('and come out nowhere: no log line, answer, frame, trace, command, and no row but sealed', async () => {
    await until(() => collector.spans.length > 0)
    seen('spans', JSON.stringify(collector.spans))
    for (const { name, text } of await dump()) seen(`table ${name}`, text)
    const kinds = new Set(sinks.map(({ name }) => name.split(' ')[0]))
    expect(kinds).toEqual(new Set(['WebSocket', 'answer', 'command', 'log', 'spans', 'table']))

    const found = [...planted].flatMap(([name, secret]) =>
      sinks.flatMap((sink) =>
        formsOf(secret).some((form) => sink.text.includes(form))
          ? [`${name} in ${sink.name}: ${around(sink.text, secret)}`]
          : [],
      ),
    )
    expect(found).toEqual([])
    // The search finds what is there: the cluster itself was told.
    const told = JSON.stringify(await clusterObjects())
    expect(formsOf(planted.get('cloud-init') ?? '').some((form) => told.includes(form))).toBe(true)
  }, 60_000)
})

const formsOf = (secret: string): string[] => [
  secret,
  encodeURIComponent(secret),
  JSON.stringify(secret).slice(1, -1),
  // In base64 at any of the three offsets that it may begin at, without the ends that depend on what is around it.
  ...[0, 1, 2].map((offset) =>
    Buffer.from(`${'x'.repeat(offset)}${secret}`)
      .toString('base64')
      .slice(offset === 0 ? 0 : 4, -4),
  ),
]

const around = (text: string, secret: string): string => {
  const at =
    formsOf(secret)
      .map((form) => text.indexOf(form))
      .find((index) => index >= 0) ?? 0
  return text.slice(Math.max(0, at - 80), at + 20)
}

/** Every row of Sluice’s tables and of the engine’s. */
async function dump(): Promise<Sink[]> {
  const client = new Client({ connectionString: adminUrl })
  await client.connect()
  const { rows: tables } = await client.query<{ name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('sluice', 'pgboss', 'sluice_platform') and c.relkind = 'r'`,
  )
  const found: Sink[] = []
  for (const { name } of tables) {
    const { rows } = await client.query<{ text: string }>(`select string_agg(t::text, E'\\n') as text from ${name} t`)
    found.push({ name, text: rows[0]?.text ?? '' })
  }
  await client.end()
  return found
}

async function clusterObjects(): Promise<unknown> {
  const { connectCluster } = await import('../../src/kubernetes/cluster.ts')
  const cluster = connectCluster({ name: 'default', kubeconfig: simulated.kubeconfig() })
  const object = await cluster.get({
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    namespace: 'default',
    name: 'one',
  })
  await cluster.stop()
  return object
}

async function runCli(line: string): Promise<void> {
  const write = { isTTY: false, columns: 200, write: (text: string) => seen(`command ${line}`, text) }
  const program = new Command()
  addClientCommands(program, {
    stdout: write,
    stderr: write,
    env: { SLUICE_URL: sluice.url, SLUICE_TOKEN: token },
    setExitCode: (exitCode) => z.literal(0).parse(exitCode),
    onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
  })
  await program.parseAsync(line.split(' '), { from: 'user' })
}
