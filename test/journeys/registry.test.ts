import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { createDatabase } from '../../src/database/database.ts'
import { productVersion } from '../../src/platform/product-version.ts'
import { startTenants, type Tenants } from '../helpers/tenants.ts'

let tenants: Tenants
beforeAll(async () => {
  tenants = await startTenants()
})
afterAll(() => tenants.stop())

test('a process that serves the API only is in the registry while it is up: with its version and its clock', async () => {
  const client = createClient({ baseUrl: tenants.sluice.url, token: tenants.tokens.viewer })
  expect(await client.workers()).toMatchObject([
    { role: 'api', version: productVersion, slots: 0, running: 0, pid: process.pid, alive: true, operations: [] },
  ])
  await tenants.stop()
  const database = createDatabase({ url: tenants.databaseUrl, poolMax: 1, poolMin: 0 })
  const { rows } = await database.pool.query('select worker_id from sluice.workers')
  expect(rows).toEqual([])
  await database.stop()
})
