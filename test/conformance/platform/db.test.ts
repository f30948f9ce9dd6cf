import { createPostgresDb } from '../../../src/platform/adapters/postgres/postgres-db.ts'
import type { Db } from '../../../src/platform/db.ts'
import { createPgliteDb } from '../../../src/platform/memory/pglite-db.ts'
import { dbConformance, idempotentConsumerConformance } from '../../../src/testing/platform-conformance.ts'
import { createTestDatabase } from '../../helpers/test-database.ts'
import { describeSuite } from './support/describe-suite.ts'

async function fixtureOf(db: Db, stop: () => Promise<void>) {
  await db.execute('create table conformance (name text primary key, n int not null)')
  return { subject: { db }, reset: async () => void (await db.execute('truncate conformance')), stop }
}

async function pglite() {
  const db = createPgliteDb()
  await db.start()
  return fixtureOf(db, () => db.stop())
}

async function postgres() {
  const { url } = await createTestDatabase()
  const db = createPostgresDb({ url, poolMax: 5 })
  await db.start()
  return fixtureOf(db, () => db.stop())
}

describeSuite('db: pglite', dbConformance, pglite)
describeSuite('db: postgres', dbConformance, postgres)
describeSuite('idempotent consumer: pglite', idempotentConsumerConformance, pglite)
describeSuite('idempotent consumer: postgres', idempotentConsumerConformance, postgres)
