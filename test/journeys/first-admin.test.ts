import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addAdminCommand } from '../../src/cli/admin.ts'
import { addClientCommands } from '../../src/cli/client-commands.ts'
import type { Terminal } from '../../src/cli/output.ts'
import { startSluice, type RunningSluice } from '../../src/main.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { until } from '../helpers/until.ts'

let databaseUrl: string
let sluice: RunningSluice
beforeAll(async () => {
  databaseUrl = (await createTestDatabase()).url
  sluice = await startSluice({ role: 'api', databaseUrl, port: 0, poolMax: 5, logger: createMemoryLogger() })
})
afterAll(() => sluice.stop())

async function run(args: readonly string[], token?: string): Promise<{ out: string; err: string; code: number }> {
  const result = { out: '', err: '', code: -1 }
  const terminal: Terminal = {
    stdout: { isTTY: false, columns: 100, write: (text) => (result.out += text) },
    stderr: { isTTY: false, columns: 100, write: (text) => (result.err += text) },
    env: { SLUICE_URL: sluice.url, DATABASE_URL: databaseUrl, SLUICE_TOKEN: token },
    setExitCode: (code) => (result.code = code),
    onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
  }
  const program = new Command()
  addAdminCommand(program, terminal)
  addClientCommands(program, terminal)
  await program.parseAsync(args, { from: 'user' })
  return { ...result, out: result.out.trim() }
}

describe('a real database: from nobody to a tenant with its people', () => {
  test('the first admin is made on the database, gives a role and a token, and takes both away', async () => {
    expect((await run(['tokens', 'list'], 'slc_guess')).err).toContain('401')
    const { out: admin } = await run(['admin', 'create', '--tenant', 'acme', '--name', 'ada'])
    expect(admin).toMatch(/^slc_[\w-]{43}$/)

    expect((await run(['role-bindings', 'grant', 'bob', 'requester'], admin)).out).toBe('bob is requester')
    expect((await run(['role-bindings', 'list'], admin)).out).toContain('ada  admin  granted by sluice admin create')
    const inProd = ['role-bindings', 'grant', 'carla', 'approver', '--environment', 'prod', 'stage']
    expect((await run(inProd, admin)).out).toBe('carla is approver in prod, stage')
    expect((await run(['role-bindings', 'list'], admin)).out).toContain(
      'carla  approver in prod, stage  granted by ada',
    )
    expect((await run(['role-bindings', 'grant', '/Team A', 'viewer', '--group'], admin)).out).toBe('/Team A is viewer')
    expect((await run(['role-bindings', 'list'], admin)).out).toContain('group /Team A  viewer  granted by ada')
    const gone = await run(['role-bindings', 'withdraw', '/Team A', 'viewer', '--group'], admin)
    expect(gone.out).toBe('/Team A is no longer viewer')
    const make = ['tokens', 'create', '--name', 'ci', '--principal', 'bob', '--expires-in-days', '7', '--json']
    const made: unknown = JSON.parse((await run(make, admin)).out)
    expect(made).toMatchObject({ principal: 'bob', created_by: 'ada' })
    const bob = made as { token: string; token_id: string }

    expect((await run(['tasks', 'list'], bob.token)).out).toBe('No tasks.')
    expect((await run(['role-bindings', 'list'], bob.token)).err).toContain('403')
    expect((await run(['tokens', 'list'], bob.token)).out).toContain(bob.token_id)

    expect((await run(['tokens', 'revoke', bob.token_id], admin)).code).toBe(0)
    await until(async () => (await run(['tasks', 'list'], bob.token)).err.includes('401'))
    expect((await run(['role-bindings', 'withdraw', 'bob', 'requester'], admin)).out).toBe('bob is no longer requester')
    expect((await run(['role-bindings', 'withdraw', 'ada', 'admin'], admin)).err).toContain('last admin')
  })

  test('a tenant or a name that is none is refused before anything is written', async () => {
    const refused = await run(['admin', 'create', '--tenant', 'No Such', '--name', 'ada'])
    expect([refused.code, refused.out]).toEqual([2, ''])
    expect((await run(['admin', 'create', '--tenant', 'acme', '--name', 'a b'])).code).toBe(2)
  })
})
