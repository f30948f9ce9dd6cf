import { describe, expect, test } from 'vitest'
import { type ArchitectureRule, checkFile, checkTree } from '../../scripts/check-architecture.ts'
import { root } from './lint-fixture.ts'

const rulesIn = (file: string, text: string): ArchitectureRule[] => checkFile(file, text).map(({ rule }) => rule)

/** Each line: the rule, a source that breaks it, a file where it may not stand, and one where it may. */
const canaries: readonly (readonly [ArchitectureRule, string, string, string?])[] = [
  ['one-pool', `import { Pool } from 'pg'\nnew Pool()`, 'src/http/x.ts', 'src/database/x.ts'],
  ['one-pool', `import { Pool as P } from 'pg'`, 'src/platform/adapters/postgres/x.ts'],
  ['one-pool', `import pg from 'pg'\nnew pg.Pool()`, 'src/tasks/x.ts'],
  ['one-pool', `import * as pg from 'pg'`, 'src/tasks/x.ts'],
  ['one-pool', `const { Pool } = await import('pg')`, 'src/worker/x.ts', 'src/database/x.ts'],
  ['one-pool', `import Pool from 'pg-pool'`, 'src/worker/x.ts'],
  ['one-pool', `import postgres from 'postgres'`, 'src/live/x.ts'],
  ['one-database', `const own = createDatabase({ url })`, 'src/worker/x.ts', 'src/main.ts'],
  [
    'one-database',
    `(await import('../database/database.ts')).createDatabase({ url })`,
    'src/http/x.ts',
    'src/cli/x.ts',
  ],
  ['engine-on-our-pool', `new PgBoss('postgres://localhost')`, 'src/queue/x.ts'],
  ['engine-on-our-pool', `new PgBoss({ connectionString, schema })`, 'src/platform/adapters/pg-boss/x.ts'],
  ['one-engine', `import { PgBoss } from 'pg-boss'`, 'src/tasks/x.ts', 'src/queue/x.ts'],
  ['one-engine', `import type { PgBoss } from 'pg-boss'`, 'src/worker/x.ts', 'src/platform/adapters/pg-boss/x.ts'],
  ['one-engine', `await import('pg-boss')`, 'src/platform/adapters/nats/x.ts'],
  ['sql-in-query-files', `import { sql } from 'kysely'`, 'src/tasks/x.ts', 'src/tasks/x.sql.ts'],
  ['sql-in-query-files', `query('select a from b')`, 'src/http/x.ts', 'src/http/x.sql.ts'],
  ['sql-in-query-files', 'query(`select a,\n  b from ${table}`)', 'src/live/x.ts', 'src/database/x.ts'],
  ['sql-in-query-files', `query('SELECT a FROM b')`, 'src/cli/x.ts'],
  ['sql-in-query-files', `query('select pg_notify($1, $2)')`, 'src/worker/x.ts'],
  ['sql-in-query-files', `query('insert into t values (1)')`, 'src/worker/x.ts'],
  ['sql-in-query-files', 'query(`update ${table} set a = 1`)', 'src/worker/x.ts'],
  ['sql-in-query-files', `query('delete from t')`, 'src/worker/x.ts'],
  ['sql-in-query-files', `query('with a as (select 1) table a')`, 'src/worker/x.ts'],
  ['sql-in-query-files', `query('create table t ()')`, 'src/cli/x.ts'],
  ['sql-in-query-files', `tx.selectFrom('tasks')`, 'src/tasks/x.ts', 'src/tasks/x.sql.ts'],
  ['sql-in-query-files', `tx.insertInto('tasks')`, 'src/tasks/x.ts'],
  ['no-skip-locked', `query('select 1 from t for update skip locked')`, 'src/tasks/x.sql.ts'],
  ['no-skip-locked', 'select 1 from t\nfor update\nSKIP LOCKED;', 'src/database/migrations/0009-x.sql'],
  ['engine-writes-its-tables', `query('insert into pgboss.job values (1)')`, 'src/queue/x.sql.ts'],
  ['engine-writes-its-tables', 'query(`update ${engineSchema}.job set state = 1`)', 'src/queue/x.sql.ts'],
  ['engine-writes-its-tables', `delete from pgboss.job;`, 'src/database/migrations/0009-x.sql'],
  ['engine-writes-its-tables', `query('copy pgboss.job from stdin')`, 'src/queue/x.sql.ts'],
  ['engine-writes-its-tables', `tx.insertInto('pgboss.job')`, 'src/tasks/x.sql.ts'],
  ['engine-writes-its-tables', 'tx.updateTable(`${engineSchema}.job`)', 'src/queue/x.sql.ts'],
  ['engine-writes-its-tables', `tx.withSchema(engineSchema).insertInto('job')`, 'src/queue/x.sql.ts'],
  ['engine-read-by-queue', `tx.selectFrom('pgboss.job as j')`, 'src/tasks/x.sql.ts', 'src/queue/x.sql.ts'],
  ['engine-read-by-queue', `query.innerJoin('pgboss.job', 'id', 'id')`, 'src/worker/x.sql.ts'],
  ['engine-read-by-queue', `query('select 1 from pgboss.job')`, 'src/tasks/x.sql.ts', 'src/queue/x.sql.ts'],
  ['engine-read-by-queue', 'query(`select 1 from a join ${engineSchema}.job using (id)`)', 'src/http/x.sql.ts'],
  ['transactions-in-use-cases', `database.transaction(scope, work)`, 'src/http/x.ts', 'src/tasks/x.ts'],
  ['transactions-in-use-cases', `options.database.transaction(scope, work)`, 'src/live/x.ts', 'src/worker/x.ts'],
  ['transactions-in-use-cases', `db.withTx(work)`, 'src/operations/x.ts', 'src/platform/adapters/postgres/x.ts'],
  ['transactions-in-use-cases', `db.startTransaction().execute()`, 'src/live/x.ts', 'src/approvals/x.ts'],
  ['transactions-in-use-cases', `const { withTx } = db\nwithTx(work)`, 'src/http/x.ts', 'src/identity/x.ts'],
  ['transactions-in-use-cases', `query('begin')`, 'src/queue/x.ts', 'src/database/x.ts'],
  ['transactions-in-use-cases', `query('begin isolation level serializable')`, 'src/http/x.ts'],
  ['jobs-in-use-cases', `queue.insert(tx, 'sluice-short', jobs)`, 'src/approvals/x.ts', 'src/tasks/x.ts'],
  ['jobs-in-use-cases', `options.queue.insert(tx, name, jobs)`, 'src/http/x.ts', 'src/worker/x.ts'],
  ['jobs-in-use-cases', `this.#queue.insert(tx, name, jobs)`, 'src/live/x.ts', 'src/notifications/x.ts'],
  ['no-import-types-across-files', `export type T = import('../worker/x.ts').T`, 'src/tasks/x.ts'],
  ['no-export-all', `export * from './y.ts'`, 'src/tasks/x.ts'],
]

describe('who may write SQL, open transactions and insert jobs', () => {
  const cases = canaries.map(([rule, text, forbidden, home]) => ({ rule, text, forbidden, home }))
  test.each(cases)('$rule: $text', ({ rule, text, forbidden, home }) => {
    expect(rulesIn(forbidden, text)).toContain(rule)
    if (home !== undefined) expect(rulesIn(home, text)).not.toContain(rule)
  })

  test.each([
    `throw new Error('Select a project from the list.')`,
    `throw new Error('Update the token and set a new one.')`,
    `const title = 'Create a project'`,
    `import type { Pool } from 'pg'`,
    `import { type Selectable } from 'kysely'`,
    `import { Pool } from 'undici'`,
    `const commit = 'begin with a capital letter'`,
    `// select a from b\nconst value = 1`,
    `set.insert(1)`,
    `new PgBoss({ schema, db: { executeSql } })`,
    `import { Client } from 'pg'`,
    `tx.withSchema('sluice')`,
  ])('says nothing about %s', (text) => {
    expect(rulesIn('src/http/x.ts', text)).toEqual([])
  })

  test('names the line', () => {
    expect(checkFile('src/http/x.ts', `const a = 1\n\nquery('delete from t')`)[0]?.line).toBe(3)
  })

  test('the sources keep to it', async () => {
    expect(await checkTree(root)).toEqual([])
  })
})
