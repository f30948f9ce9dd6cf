import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { createDatabase, type Database } from '../database/database.ts'
import { createHeartbeat } from '../worker/heartbeat.ts'
import { addDoctorCommand } from './doctor.ts'

let url: string
let database: Database
let folder: string
beforeAll(async () => {
  url = (await createTestDatabase()).url
  database = createDatabase({ url, poolMax: 1, poolMin: 0 })
  folder = await mkdtemp(join(tmpdir(), 'sluice-doctor-'))
})
afterAll(async () => {
  await database.stop()
  await rm(folder, { recursive: true })
})

async function doctor(line: string, env: Record<string, string> = { DATABASE_URL: url }) {
  const run = { out: '', err: '', code: undefined as number | undefined }
  const program = new Command()
  addDoctorCommand(program, {
    stdout: { isTTY: false, columns: 100, write: (text) => (run.out += text) },
    stderr: { isTTY: false, columns: 100, write: (text) => (run.err += text) },
    env: { SLUICE_DATA_DIR: folder, ...env },
    setExitCode: (code) => (run.code = code),
    onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
  })
  await program.parseAsync(['doctor', ...line.split(' ').filter((word) => word !== '')], { from: 'user' })
  return run
}

/** A process that is up, as far as its row says. */
const up = (clock: number) =>
  createHeartbeat(
    database,
    { workerId: 'w', role: 'worker', version: '1', slots: 1, host: 'h', pid: 1, operations: [] },
    () => Date.now() + clock,
  ).beat(0)

describe('sluice doctor', () => {
  test('says of everything how it is, and what to do; something that fails is exit code 1', async () => {
    const run = await doctor('')
    expect(run).toMatchObject({ code: 1, err: '' })
    expect(run.out).toMatch(/^ok {4}schema {13}As this version’s migrations made it/)
    expect(run.out).toMatch(/\nfail {2}processes {10}No process is up\.\n +→ Start one: `sluice start`/)
    const json = await doctor('--json')
    expect(json.code).toBe(1)
    expect(JSON.parse(json.out)).toMatchObject({
      state: 'fail',
      findings: expect.arrayContaining([
        { check: 'processes', state: 'fail', found: 'No process is up.', advice: expect.any(String) },
        { check: 'backlog', state: 'ok', found: 'No job is due.', advice: null },
      ]),
    })
  })

  test('a warning is exit code 0, and 1 where that was asked', async () => {
    await up(5_000)
    const warned = await doctor('')
    expect(warned).toMatchObject({ code: 0, out: expect.stringMatching(/\nwarn {2}clock skew/) })
    expect(await doctor('--strict')).toMatchObject({ code: 1 })
  })

  test('finds the database of the data folder; without one, and where nobody answers, it says so', async () => {
    const { port, password } = new URL(url)
    await writeFile(join(folder, 'embedded-postgres.json'), JSON.stringify({ port: Number(port), password }))
    // Its database is called sluice, and on this server that one is empty, or not there.
    const { out, err, code } = await doctor('', {})
    expect(out + err).toMatch(/There is no Sluice in this database|database "sluice" does not exist/)
    expect(code).toBe(1)
    await rm(join(folder, 'embedded-postgres.json'))
    expect(await doctor('', {})).toMatchObject({ code: 2, err: expect.stringContaining('Which database?') })
    expect(await doctor('--database-url postgres://nobody@127.0.0.1:1/x')).toMatchObject({ code: 3 })
  })
})
