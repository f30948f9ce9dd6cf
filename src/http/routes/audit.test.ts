import { once } from 'node:events'
import { get } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startTestApi, type TestApi } from '../../../test/helpers/api.ts'
import { noop } from '../../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../../test/helpers/governed-core.ts'
import { toAuditCsv } from '../../audit/audit-csv.ts'
import { sealEvents } from '../../audit/seal.ts'
import type { AuditEntry } from '../../contract/audit.ts'
import { appendNote } from '../../database/append-note.sql.ts'
import { grantRole } from '../../identity/role-bindings.ts'
import { createToken, revokeToken } from '../../identity/tokens.ts'

let core: GovernedCore
let api: TestApi
let url: string
let taskId: string
beforeAll(async () => {
  core = await startGovernedCore('version: 1\nrules: [{ name: rest, allow: true }]')
  api = await startTestApi(core, [noop])
  url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  for (let i = 0; i < 10; i++) {
    const headers = { 'sluice-reason': `round ${i}` }
    const { body } = await api.as(
      'requester',
      'POST /tasks',
      { operation: 'test.noop', input: { name: `n${i}` } },
      headers,
    )
    taskId = body['task_id']
    await api.as('requester', `POST /tasks/${taskId}/cancel`)
    await write('other', 1)
    if (i < 8) await sealEvents({ database: core.database })
  }
})
afterAll(async () => {
  await api.stop()
  await core.stop()
})

const write = (tenant: string, events: number, data: Record<string, unknown> = {}) =>
  core.database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    for (let i = 0; i < events; i++) await appendNote(tx, { type: 'test.noted', actor: 'eve', data: { i, ...data } })
  })

async function audit(query: string): Promise<AuditEntry[]> {
  const found: AuditEntry[] = []
  let token = ''
  do {
    const { status, body } = await api.as('admin', `GET /audit?${query}${token === '' ? '' : `&page_token=${token}`}`)
    if (status !== 200) throw new Error(JSON.stringify(body))
    found.push(...body['items'])
    token = body['next_page_token'] ?? ''
  } while (token !== '')
  return found
}

const exported = async (query: string) =>
  await api.app.inject({
    url: `/api/v1/audit/export?${query}`,
    headers: { authorization: `Bearer ${api.tokens.admin}` },
  })

describe('GET /audit', () => {
  test('is the tenant’s log, newest first, with its places in the chain; what is not sealed yet has none', async () => {
    const all = await audit('page_size=200')
    expect(all).toHaveLength(20)
    expect(all.map(({ position }) => position)).toEqual([
      ...Array(4).fill(null),
      ...Array.from({ length: 16 }, (_, i) => 16 - i),
    ])
    expect(all.map(({ type }) => type).slice(0, 2)).toEqual(['task.cancelled', 'task.requested'])
    expect(all.at(-1)).toMatchObject({
      type: 'task.requested',
      actor: 'requester',
      operation: 'test.noop',
      reason: 'round 0',
      source: { address: '127.0.0.1', via: 'development', token_id: null, trace_id: expect.stringMatching(/^\w{32}$/) },
      hash: expect.stringMatching(/^[\da-f]{64}$/),
      data: expect.objectContaining({ input: { name: 'n0' } }),
    })
    expect(all.at(-1)?.data).not.toHaveProperty('source')
  })

  test.each([1, 3, 7, 20])('pages of %i hold each event once', async (size) => {
    const all = await audit('page_size=200')
    expect(await audit(`page_size=${size}`)).toEqual(all)
  })

  test('finds by actor, type, task, reason’s source and time', async () => {
    const all = await audit('page_size=200')
    const types = async (query: string) => (await audit(query)).map(({ type }) => type)
    expect(await types('actor=nobody')).toEqual([])
    expect(await types('type=task.cancelled')).toHaveLength(10)
    expect(await types('type=task.*')).toHaveLength(20)
    expect(await types('type=ticket.*')).toEqual([])
    expect(await types(`task_id=${taskId}`)).toEqual(['task.cancelled', 'task.requested'])
    expect(await types('task_id=task_01h455vb4pex5vsknk084sn02q')).toEqual([])
    expect(await types('address=127.0.0.1')).toHaveLength(20)
    expect(await types('address=10.0.0.1')).toEqual([])
    const [since, until] = [all[12]?.at ?? '', all[5]?.at ?? '']
    const within = all.filter(({ at }) => at >= since && at < until)
    expect(await audit(`since=${since}&until=${until}&page_size=3`)).toEqual(within)
    expect((await api.as('admin', 'GET /audit?task_id=nonsense')).status).toBe(422)
    expect((await api.as('admin', 'GET /audit?page_token=nonsense')).status).toBe(422)
  })

  test('shows nothing of another tenant, to whom nothing of ours is shown', async () => {
    const who = { tenant: 'other', principal: 'olga', actor: 'founder' }
    await grantRole(core.database, { ...who, role: 'admin' })
    const { token } = await createToken(core.database, { ...who, name: 'test' })
    const ask = (path: string) =>
      api.app.inject({ url: `/api/v1${path}`, headers: { authorization: `Bearer ${token}` } })
    for (const path of ['/audit?page_size=200', '/audit/export', '/audit/export?format=csv']) {
      const answer = await ask(path)
      expect(answer.body).toContain('test.noted')
      expect(answer.body).not.toContain('test.noop')
    }
    expect(await audit('page_size=200&actor=eve')).toEqual([])
  })
})

describe('GET /audit/export', () => {
  test('is all of it, oldest first, as JSON', async () => {
    const answer = await exported('')
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    expect(answer.headers['content-disposition']).toBe('attachment; filename="audit-default.json"')
    expect(answer.json()).toEqual((await audit('page_size=200')).toReversed())
    expect((await exported('actor=nobody')).json()).toEqual([])
    expect((await exported('type=task.cancelled')).json()).toHaveLength(10)
  })

  test('and as CSV, of which no spreadsheet runs a cell', async () => {
    await api.as(
      'requester',
      'POST /tasks',
      { operation: 'test.noop', input: { name: '=1+1' } },
      {
        'sluice-reason': "=cmd|' /C calc'!A0",
      },
    )
    await write('default', 1, { comment: '@SUM(1,"2")\nand a line' })
    const answer = await exported('format=csv')
    expect(answer.headers['content-type']).toMatch(/^text\/csv/)
    const rows = parseCsv(answer.body)
    const reasons = rows.map((row) => row['reason'])
    expect(reasons.at(-2)).toBe("'=cmd|' /C calc'!A0")
    expect(reasons.at(-1)).toBe('\'@SUM(1,"2")\nand a line')
    expect(rows.length).toBe((await audit('page_size=200')).length)
    for (const row of rows) for (const cell of Object.values(row)) expect(cell).not.toMatch(/^[=+\-@\t\r]/)
    expect(rows[0]).toMatchObject({ type: 'task.requested', actor: 'requester', address: '127.0.0.1', position: '1' })
    expect(JSON.parse(rows[0]?.['data'] ?? '')).toMatchObject({ input: { name: 'n0' } })
  })

  test.each(['=1', '+1', '-1', '@a', '\t=1', '\r=1', ' =1', '＝1', '\n@a'])('%j becomes text', async (actor) => {
    const [entry] = await audit('page_size=1')
    if (!entry) throw new Error('the log is empty')
    expect(toAuditCsv({ ...entry, actor })).toContain(`"'${actor}"`)
  })

  test('streams what is larger than any buffer, and breaks off when the token is revoked', async () => {
    await write('big', 4_000, { text: 'x'.repeat(5_000) })
    await sealEvents({ database: core.database })
    const who = { tenant: 'big', principal: 'bob', actor: 'founder' }
    await grantRole(core.database, { ...who, role: 'admin' })
    const { token, shown } = await createToken(core.database, { ...who, name: 'test' })
    const open = async () => {
      // A connection of its own: the kernel lets one that was read fast before buffer all of it.
      const options = { headers: { authorization: `Bearer ${token}` }, agent: false }
      const request = get(`${url}/api/v1/audit/export`, options)
      const [response] = await once(request, 'response')
      return response
    }
    const whole = await open()
    let size = 0
    for await (const piece of whole) size += piece.length
    expect(size).toBeGreaterThan(20_000_000)
    expect(whole.complete).toBe(true)

    // Nobody reads on: the server stands still in the middle.
    const broken = await open()
    await revokeToken(core.database, { tenant: 'big', actor: 'founder', tokenId: shown.token_id })
    const broke = () => api.logger.lines.some(({ message }) => message === 'an export of the audit broke off')
    await vi.waitUntil(broke, { timeout: 30_000, interval: 20 })
    await expect(buffer(broken)).rejects.toThrow(/aborted/)
    expect(broken.complete).toBe(false)
  }, 60_000)
})

describe('GET /audit/head and /audit/verify', () => {
  test('the chain is verified, and goes through a head that was kept', async () => {
    await sealEvents({ database: core.database })
    const head = (await api.as('admin', 'GET /audit/head')).body
    expect(head).toEqual({
      tenant: 'default',
      position: (await audit('page_size=200')).length,
      hash: (await audit('page_size=1'))[0]?.hash,
      sealed_at: expect.any(String),
    })
    await write('default', 1)
    const kept = `head_position=${head['position']}&head_hash=${head['hash']}`
    expect((await api.as('admin', `GET /audit/verify?${kept}`)).body).toMatchObject({
      findings: [],
      unsealed: 1,
      position: head['position'],
      hash: head['hash'],
      next_page_token: null,
    })
    const other = await api.as('admin', `GET /audit/verify?head_position=2&head_hash=${head['hash']}`)
    expect(other.body['findings']).toMatchObject([{ kind: 'head_differs', position: 2 }])
    const beyond = await api.as('admin', `GET /audit/verify?head_position=1000&head_hash=${head['hash']}`)
    expect(beyond.body['findings']).toMatchObject([{ kind: 'cut' }])
    expect((await api.as('admin', 'GET /audit/verify?head_position=1')).status).toBe(422)
    expect((await api.as('admin', 'GET /audit/verify?page_token=nonsense')).status).toBe(422)
  })

  test('what was edited by the owner of the database is told with its place', async () => {
    await core.database.pool.query(`set session_replication_role = 'replica';
      update sluice.domain_events set actor = 'eve' where seq = (select seqs[1] from sluice.audit_seals
        where tenant_id = 'default' order by position limit 1);
      reset session_replication_role`)
    const { body } = await api.as('admin', 'GET /audit/verify')
    expect(body['findings']).toMatchObject([
      { kind: 'changed', tenant: 'default', position: 1, detail: expect.stringContaining('position 1') },
    ])
  })
})

/** RFC 4180, just enough. */
function parseCsv(text: string): Record<string, string>[] {
  const cells = [...text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)]
  const lines: string[][] = [[]]
  for (const [, quoted, plain, end] of cells) {
    lines.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain ?? '')
    if (end !== ',') lines.push([])
  }
  const [header = [], ...rows] = lines.slice(0, -1)
  return rows.map((row) => Object.fromEntries(header.map((name, i) => [name, row[i] ?? ''])))
}
