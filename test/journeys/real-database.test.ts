import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../helpers/test-database.ts'
import { connectApi } from './support/api.ts'
import { buildSluice, root } from './support/build.ts'
import { makeDataDir, startDeadlineMs, startProgram } from './support/program.ts'

const bin = join(root, 'bin/sluice.js')
const urlOf = (output: string) => /^Sluice is ready on (\S+)$/m.exec(output)?.[1] ?? ''

let dataDir: string
let databaseUrl: string
beforeAll(async () => {
  await buildSluice()
  dataDir = await makeDataDir()
  databaseUrl = (await createTestDatabase()).url
}, startDeadlineMs)

const start = (args: readonly string[], ready: RegExp, env: Record<string, string> = {}) =>
  startProgram({ args: [bin, 'start', '--data', dataDir, ...args], env, ready })
const developmentToken = async (): Promise<string> => {
  const tokens: unknown = JSON.parse(await readFile(join(dataDir, 'dev-tokens.json'), 'utf8'))
  return (tokens as { requester: string }).requester
}

describe('development tokens are for this machine and an embedded database', { timeout: startDeadlineMs * 2 }, () => {
  test('they let in on loopback, and nobody where others can reach the server', async () => {
    const here = await start(['--port', '0'], /^Console: .*\n/m)
    const token = await developmentToken()
    expect((await connectApi(urlOf(here.output()), token).send('GET', '/tasks')).status).toBe(200)
    await here.stop()

    const everywhere = await start(['--port', '0', '--host', '0.0.0.0'], /^Simulated cluster: .*\n/m)
    expect(everywhere.output()).toContain('The development tokens are off, because others than this machine can reach')
    expect(everywhere.output()).not.toContain('?code=')
    const url = urlOf(everywhere.output()).replace('0.0.0.0', '127.0.0.1')
    expect((await connectApi(url, token).send('GET', '/tasks')).status).toBe(401)
    await everywhere.stop()
  })

  test('API and worker apart on one DATABASE_URL: a change is accepted by one and run by the other', async () => {
    const env = { DATABASE_URL: databaseUrl }
    const api = await start(['--role', 'api', '--port', '0'], /^Simulated cluster: .*\n/m, env)
    const worker = await start(['--role', 'worker'], /^Sluice worker is ready\n/m, env)
    expect(api.output()).toContain('npx sluice admin create')
    const url = urlOf(api.output())
    expect((await connectApi(url, await developmentToken()).send('GET', '/tasks')).status).toBe(401)

    const made = await promisify(execFile)(
      process.execPath,
      [bin, 'admin', 'create', '--tenant', 'default', '--name', 'ada'],
      { env: { ...process.env, ...env } },
    )
    const ada = connectApi(url, made.stdout.trim())
    const { task_id } = await ada.createProject('apart')
    expect(await ada.end(task_id)).toMatchObject({ status: 'COMPLETED' })
    expect(await worker.stop()).toBe(0)
    expect(await api.stop()).toBe(0)
  })
})
