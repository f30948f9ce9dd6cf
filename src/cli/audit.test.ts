import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestApi, type TestApi } from '../../test/helpers/api.ts'
import { noop } from '../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { sealEvents } from '../audit/seal.ts'
import { appendNote } from '../database/append-note.sql.ts'
import { addClientCommands } from './client-commands.ts'

let core: GovernedCore
let api: TestApi
let url: string
let folder: string
beforeAll(async () => {
  core = await startGovernedCore('version: 1\nrules: [{ name: rest, allow: true }]')
  api = await startTestApi(core, [noop])
  url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  folder = await mkdtemp(join(tmpdir(), 'sluice-audit-'))
  for (let i = 0; i < 3; i++) await sluice('requester', `submit test.noop --input name=n${i}`)
  await write('other')
  await sealEvents(core)
})
afterAll(async () => {
  await api.stop()
  await core.stop()
  await rm(folder, { recursive: true })
})

const write = (tenant: string) =>
  core.database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    appendNote(tx, { type: 'test.noted', actor: 'eve', data: {} }),
  )

async function sluice(who: keyof TestApi['tokens'], line: string) {
  const run = { out: '', err: '', code: undefined as number | undefined }
  const write = (stream: 'out' | 'err') => ({
    isTTY: false,
    columns: 100,
    write: (text: string) => (run[stream] += text),
  })
  const program = new Command()
  addClientCommands(program, {
    stdout: write('out'),
    stderr: write('err'),
    env: { SLUICE_URL: url, SLUICE_TOKEN: api.tokens[who], SLUICE_REASON: 'a test' },
    setExitCode: (code) => (run.code = code),
    onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
  })
  await program.parseAsync(line.split(' '), { from: 'user' })
  return run
}

describe('sluice audit', () => {
  test('list tells who, from where and why', async () => {
    const { out, code } = await sluice('admin', 'audit list --type task.requested --page-size 2')
    expect(code).toBe(0)
    expect(out.split('\n')[0]).toMatch(
      /^\d{4}-\S+Z {2}task\.requested {2}requester {2}from 127\.0\.0\.1 {2}task_\w+ {2}default:test\/Thing\/\/n2 {2}“a test”$/,
    )
    const token = /--page-token (\S+)/.exec(out)?.[1]
    expect((await sluice('admin', `audit list --type task.requested --page-token ${token}`)).out).toContain('//n0')
    expect((await sluice('requester', 'audit list')).code).toBe(1)
  })

  test('export writes JSON and CSV, to a file that nobody else reads', async () => {
    const json = JSON.parse((await sluice('admin', 'audit export --type task.requested')).out)
    expect(json.map((entry: { position: number }) => entry.position)).toEqual([1, 2, 3])
    const file = join(folder, 'audit.csv')
    expect((await sluice('admin', `audit export --format csv --output ${file}`)).out).toBe('')
    expect((await readFile(file, 'utf8')).split('\r\n')).toHaveLength(1 + 3 + 1)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
  })

  test('head is kept, and verify finds what happened to the chain since', async () => {
    const file = join(folder, 'head.json')
    const head = await sluice('admin', 'audit head --json')
    await writeFile(file, head.out)
    expect(JSON.parse(head.out)).toMatchObject({ tenant: 'default', position: 3 })
    expect((await sluice('admin', 'audit head')).out).toBe(`default  3  ${JSON.parse(head.out).hash}\n`)

    expect(await sluice('admin', `audit verify --head ${file}`)).toEqual({
      out: '3 events are as they were sealed.\n',
      err: '',
      code: 0,
    })
    expect((await sluice('admin', 'audit verify')).out).toContain('No head was given')
    await sluice('requester', 'submit test.noop --input name=late')
    expect((await sluice('admin', `audit verify --head ${file}`)).out).toMatch(/1 are not sealed yet/)
    await writeFile(file, JSON.stringify({ ...JSON.parse(head.out), hash: '0'.repeat(64) }))
    const differs = await sluice('admin', `audit verify --head ${file}`)
    expect(differs).toMatchObject({ code: 1, out: expect.stringMatching(/^head_differs {2}default: At position 3/) })
    expect(await sluice('admin', 'audit verify --head /nowhere')).toMatchObject({ code: 2 })
  })

  test('--database-url reads all tenants from the database itself', async () => {
    const at = `--database-url ${core.url}`
    const file = join(folder, 'heads.json')
    const heads = await sluice('admin', `audit head --json ${at}`)
    await writeFile(file, heads.out)
    // The platform's own log says which policy was loaded.
    const others = ['other', 'platform'].map((tenant) => ({ tenant, position: 1 }))
    expect(JSON.parse(heads.out)).toMatchObject([{ tenant: 'default' }, ...others])
    const json = async () => JSON.parse((await sluice('admin', `audit verify --json --head ${file} ${at}`)).out)
    expect(await json()).toMatchObject({ valid: true, events: 5, findings: [], unsealed: 1 })
    await core.database.pool.query(`set session_replication_role = 'replica';
      delete from sluice.domain_events where tenant_id = 'other';
      delete from sluice.audit_seals where tenant_id = 'other';
      reset session_replication_role`)
    expect(await json()).toMatchObject({ valid: false, findings: [{ kind: 'cut', tenant: 'other', position: 1 }] })
  })
})
