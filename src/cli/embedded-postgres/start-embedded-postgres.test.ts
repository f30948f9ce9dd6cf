import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { identifyProcess } from '../process-identity.ts'
import { startEmbeddedPostgres } from './start-embedded-postgres.ts'

// Nobody but its owner may enter it: as the superuser's home, when root runs these tests.
let privateFolder: string
/** Holds a cluster that was stopped in order; tests that damage it take a copy. */
let dataDir: string
const settings = { fsync: 'off' }

beforeAll(async () => {
  privateFolder = await mkdtemp(join(tmpdir(), 'sluice-embedded-'))
  dataDir = join(privateFolder, 'deep/inside')
  await (await startEmbeddedPostgres({ dataDir, settings })).stop()
})
afterAll(() => rm(privateFolder, { recursive: true }))

async function query<Row>(connectionString: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString })
  try {
    await client.connect()
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

function canConnect(host: string, port: number): Promise<boolean> {
  const client = new Client({ host, port, user: 'postgres', password: 'postgres' })
  return client.connect().then(
    () => client.end().then(() => true),
    (error: { code?: string }) => error.code === '28P01',
  )
}

describe('the embedded PostgreSQL', () => {
  test('keeps its data, its port and its password, and stops more than once', async () => {
    const first = await startEmbeddedPostgres({ dataDir, settings })
    expect(first.version).toMatch(/^18\./)
    expect(first.connectionString).toMatch(
      new RegExp(`^postgres://postgres:[\\w-]{43}@127\\.0\\.0\\.1:${first.port}/sluice$`),
    )
    await query(first.connectionString, 'create table kept as select 42 as answer')
    await Promise.all([first.stop(), first.stop()])
    await first.stop()
    const second = await startEmbeddedPostgres({ dataDir, settings })
    expect(second.connectionString).toBe(first.connectionString)
    expect(await query(second.connectionString, 'select answer from kept')).toEqual([{ answer: 42 }])
    await second.stop()
  })

  test('asks everybody for a password and listens to this machine only', async () => {
    const server = await startEmbeddedPostgres({ dataDir, settings })
    await expect(query(server.connectionString.replace(/:[\w-]{43}@/, ':guessed@'), 'select')).rejects.toThrow(
      /password/,
    )
    const rules = await query<{ type: string; auth_method: string }>(
      server.connectionString,
      'select distinct type, auth_method from pg_hba_file_rules',
    )
    expect(new Set(rules.map((rule) => rule.auth_method))).toEqual(new Set(['scram-sha-256']))
    const others = Object.values(networkInterfaces()).flatMap((found) => found ?? [])
    for (const { address, internal, family } of others) {
      if (!internal && family === 'IPv4') expect(await canConnect(address, server.port)).toBe(false)
    }
    await server.stop()
  })

  test('shows its password to the owner of the folder alone', async () => {
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
    expect((await stat(join(dataDir, 'embedded-postgres.json'))).mode & 0o777).toBe(0o600)
    expect((await stat(join(dataDir, 'postgres.log'))).mode & 0o777).toBe(0o600)
  })

  test('runs as somebody unprivileged when root starts it', async () => {
    const server = await startEmbeddedPostgres({ dataDir, settings })
    const [pid] = (await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8')).split('\n')
    // Only Linux shows a process as a folder, and only there root may start it.
    const owner = process.platform === 'linux' ? (await stat(`/proc/${pid}`)).uid : process.getuid?.()
    if (process.getuid?.() === 0) expect(owner).toBeGreaterThan(0)
    else expect(owner).toBe(process.getuid?.())
    await server.stop()
  })

  test('moves to another port when somebody took its own', async () => {
    const { port } = JSON.parse(await readFile(join(dataDir, 'embedded-postgres.json'), 'utf8'))
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve))
    const server = await startEmbeddedPostgres({ dataDir, settings })
    expect(server.port).not.toBe(port)
    await server.stop()
    await new Promise((resolve) => other.close(resolve))
    const again = await startEmbeddedPostgres({ dataDir, settings })
    expect(again.port).toBe(server.port)
    await again.stop()
  })

  test('is used by one at a time', async () => {
    const server = await startEmbeddedPostgres({ dataDir, settings })
    await expect(startEmbeddedPostgres({ dataDir, settings })).rejects.toThrow(
      `The data folder ${dataDir} is in use by another Sluice (process ${process.pid}).`,
    )
    expect(await query(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    await server.stop()
  })

  test('ends, when the start is cancelled, with the reason and nothing half done', async () => {
    const folder = join(privateFolder, 'cancelled')
    const cancel = new AbortController()
    const starting = startEmbeddedPostgres({ dataDir: folder, settings, signal: cancel.signal })
    await expect
      .poll(() => readdir(folder).catch(() => []), { interval: 10 })
      .toContainEqual(expect.stringMatching(/partial/))
    cancel.abort(new Error('changed my mind'))
    await expect(starting).rejects.toThrow('changed my mind')
    expect((await readdir(folder)).filter((name) => /partial|lock/.test(name))).toEqual([])
    // Whatever it had come to, the next start makes of it what it was asked for.
    await (await startEmbeddedPostgres({ dataDir: folder, settings })).stop()
  })

  test('says so when it ends though nobody stopped it', async () => {
    const ended = Promise.withResolvers<string>()
    const server = await startEmbeddedPostgres({ dataDir, settings, onUnexpectedEnd: ended.resolve })
    const pid = Number.parseInt(await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8'), 10)
    process.kill(pid, 'SIGKILL')
    expect(await ended.promise).toContain(join(dataDir, 'postgres.log'))
    await server.stop()
    expect(identifyProcess(pid)).toBeUndefined()
  })
})

describe('what it cannot open is one sentence that says what to do', () => {
  /** Puts `content` (undefined: nothing) in the place of a file, looks how the start refuses, and puts the file back. */
  async function expectRefusal(path: string, content: string | Buffer | undefined, message: RegExp): Promise<void> {
    const file = join(dataDir, path)
    const kept = await readFile(file).catch(() => undefined)
    try {
      if (content === undefined) await rm(file)
      else await writeFile(file, content)
      await expect(startEmbeddedPostgres({ dataDir, settings })).rejects.toMatchObject({
        code: 'cannot_start',
        message: expect.stringMatching(message),
      })
      // Refused is not in use: the next attempt gets the same answer.
      expect(await readdir(dataDir)).not.toContain('embedded-postgres.lock')
    } finally {
      if (kept === undefined) await rm(file)
      else if (content === undefined) await putBack(file, kept)
      else await writeFile(file, kept)
    }
  }

  /** A file made anew belongs to root where root runs the tests; the folder says whose it was. */
  async function putBack(file: string, content: Buffer): Promise<void> {
    await writeFile(file, content, { mode: 0o600 })
    const { uid, gid } = await stat(dirname(file))
    await chown(file, uid, gid)
  }

  test('a cluster without its version', () =>
    expectRefusal(
      'postgres/PG_VERSION',
      undefined,
      /is damaged or no PostgreSQL data folder: .* move it away to begin anew\.$/,
    ))

  test('a cluster older than 14', () =>
    expectRefusal('postgres/PG_VERSION', '13\n', /was written by PostgreSQL 13, and Sluice needs 14 or newer\./))

  test('a cluster that the programs are too new for', () =>
    expectRefusal(
      'postgres/PG_VERSION',
      '16\n',
      /was written by PostgreSQL 16, and this Sluice brings 18, .* DATABASE_URL/,
    ))

  test('a data folder of another PostgreSQL', () =>
    expectRefusal(
      'PG_VERSION',
      '18\n',
      /is the data folder of another PostgreSQL\. Give Sluice a folder of its own with --data/,
    ))

  test('a damaged control file, with the reason that PostgreSQL gives', () =>
    expectRefusal(
      'postgres/global/pg_control',
      '',
      /cannot open the database in .*\(could not read file "global\/pg_control": read 0 of \d+\)\./,
    ))

  test('a damaged catalogue', () =>
    expectRefusal(
      'postgres/global/1262',
      Buffer.alloc(8192, 7),
      /cannot be opened \(invalid page in block 0 of relation "global\/1262"\)\. If it is damaged/,
    ))

  test('a lost password', () =>
    expectRefusal('embedded-postgres.json', undefined, /^The password of the database in .* is lost/))

  test('another password', () =>
    expectRefusal(
      'embedded-postgres.json',
      '{"port":20000,"password":"guessed"}',
      /^The password of the database in .* is lost/,
    ))

  test('a damaged password file', () =>
    expectRefusal(
      'embedded-postgres.json',
      '{"port":',
      /embedded-postgres\.json is damaged, and it holds the password/,
    ))

  test('a folder that is a file', async () => {
    await writeFile(join(privateFolder, 'file'), '')
    await expect(startEmbeddedPostgres({ dataDir: join(privateFolder, 'file') })).rejects.toThrow(
      /^The data folder .*file cannot be used \(EEXIST: .*\)\. Choose another with --data\.$/,
    )
  })
})

test('an empty cluster folder is as good as none', async () => {
  const folder = join(privateFolder, 'empty')
  await mkdir(join(folder, 'postgres'), { recursive: true })
  const server = await startEmbeddedPostgres({ dataDir: folder, settings })
  expect(await query(server.connectionString, 'select current_database()')).toEqual([{ current_database: 'sluice' }])
  await server.stop()
})
