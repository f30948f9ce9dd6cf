import type { Client } from 'pg'
import { PgBoss } from 'pg-boss'
import { runMigrations } from '../database/run-migrations.ts'
import { grantEngine } from './engine-grants.sql.ts'
import { engineSchema } from './engine-schema.ts'
import { setEngineStorage } from './engine-storage.sql.ts'
import { engineRetrySeconds, heartbeatSeconds } from './pg-boss-queue.ts'
import { queueNames } from './queue.ts'

/**
 * Brings the database up to date: Sluice's own tables, then the engine's, then the queues. A step of its own, before
 * any worker runs: the engine's migrations have deadlocked with live workers. Concurrent runs queue up.
 * Returns the names of the migrations that it applied. Throws `MigrationError` with what to do next.
 */
export function migrate(databaseUrl: string): Promise<string[]> {
  return runMigrations(databaseUrl, migrateEngine)
}

async function migrateEngine(client: Client): Promise<void> {
  const boss = new PgBoss({
    schema: engineSchema,
    db: { executeSql: (text, values) => client.query(text, values) },
    supervise: false,
    schedule: false,
    registerInstance: false,
  })
  const errors: Error[] = []
  boss.on('error', (error) => errors.push(error))
  await boss.start()
  await createQueues(boss)
  await boss.stop({ graceful: false, close: false })
  if (errors[0]) throw errors[0]
  await grantEngine(client)
  await setEngineStorage(client)
}

async function createQueues(boss: PgBoss): Promise<void> {
  const existing = new Set((await boss.getQueues()).map((queue) => queue.name))
  for (const name of [...queueNames].reverse()) {
    const options = {
      heartbeatSeconds,
      // An engine-made retry follows a crash, which took its ten seconds to be noticed, or a lost database.
      retryDelay: engineRetrySeconds,
      retryBackoff: false,
      deleteAfterSeconds: 24 * 3600,
      retentionSeconds: 365 * 24 * 3600,
      ...(name !== 'sluice-dead' && { deadLetter: 'sluice-dead' }),
    }
    if (existing.has(name)) await boss.updateQueue(name, options)
    else await boss.createQueue(name, { ...options, policy: 'standard' })
  }
}
