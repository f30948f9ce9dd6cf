import { createRequire } from 'node:module'
import type { Pool } from 'pg'
import { PgBoss } from 'pg-boss'
import { engineSchema } from './engine-schema.ts'

export interface EngineSchema {
  /** Of the engine that this program brings. */
  readonly expected: number
  /** Undefined: the engine was never migrated here. */
  readonly found: number | undefined
  /** What is otherwise than the engine of this program has it; empty when nothing is. */
  readonly drift: readonly string[]
}

/** The engine's own word on its schema. */
export function readEngineSchema(pool: Pool): Promise<EngineSchema> {
  const expected = expectedSchema()
  return withEngine(pool, async (boss) => {
    const found = (await boss.isInstalled()) ? ((await boss.schemaVersion()) ?? undefined) : undefined
    // Another version's objects are other ones: what differs is told by the version.
    if (found !== expected) return { expected, found, drift: [] }
    const report = await boss.detectSchemaDrift()
    const names = (things: readonly { readonly name: string }[]) => things.map(({ name }) => name)
    return {
      expected,
      found,
      drift: report.ok
        ? []
        : [
            ...report.missingTables,
            ...names(report.missing),
            ...names(report.invalid),
            ...names(report.mismatched),
            ...names(report.missingFunctions),
            ...names(report.mismatchedFunctions),
            ...report.columnDrift.map(({ table }) => `columns of ${table}`),
            ...report.constraintDrift.map(({ table }) => `constraints of ${table}`),
            ...(report.enumDrift ? [report.enumDrift.name] : []),
          ],
    }
  })
}

/** What to run so that bloated indexes of the engine are made anew; empty when none is. */
export function readReindexCommands(pool: Pool): Promise<string[]> {
  return withEngine(pool, (boss) => boss.getReindexCommands())
}

function expectedSchema(): number {
  // The engine says it in its package and nowhere else.
  const found = createRequire(import.meta.url)('pg-boss/package.json') as {
    readonly pgboss: { readonly schema: number }
  }
  return found.pgboss.schema
}

// Only asked: it supervises nothing, registers nothing and migrates nothing.
async function withEngine<T>(pool: Pool, ask: (boss: PgBoss) => Promise<T>): Promise<T> {
  const boss = new PgBoss({
    schema: engineSchema,
    db: { executeSql: (text, values) => pool.query(text, values) },
    migrate: false,
    createSchema: false,
    supervise: false,
    schedule: false,
    registerInstance: false,
  })
  const errors: Error[] = []
  boss.on('error', (error) => errors.push(error))
  const answer = await ask(boss)
  if (errors[0]) throw errors[0]
  return answer
}
