import { type CatalogueDrift, findDrift } from '../../database/catalogue.ts'
import { compareMigrations, type MigrationState } from '../../database/run-migrations.ts'
import { type EngineSchema, readEngineSchema } from '../../queue/engine-health.ts'
import { type Finding, listing, type Patient } from './finding.ts'

/** Sluice's tables and the engine's, against what this program's migrations make. */
export async function examineSchema({ pool }: Patient): Promise<Finding> {
  const migrations = await compareMigrations(pool).catch((error: Error & { code?: string }) => {
    // No table, no schema.
    if (error.code === '42P01' || error.code === '3F000') return undefined
    throw error
  })
  if (!migrations) {
    const found = 'There is no Sluice in this database.'
    return { ...schema('fail', found, 'Run `sluice migrate`, or check DATABASE_URL.'), readable: false }
  }
  const ahead = migrationProblem(migrations)
  if (ahead) return { ...ahead, readable: false }
  const engine = await readEngineSchema(pool)
  const drift = await findDrift(pool)
  const problem = engineProblem(engine) ?? driftProblem(drift, engine)
  if (problem) return problem
  if (drift.otherServer) {
    const found = 'PostgreSQL was upgraded since the last migration: what the schema should be is not known.'
    return schema('warn', found, 'Run `sluice migrate`, which records it anew.')
  }
  return schema('ok', `As this version’s migrations made it; the engine’s is version ${engine.expected}.`, null)
}

const schema = (state: Finding['state'], found: string, advice: string | null): Finding => ({
  check: 'schema',
  state,
  found,
  advice,
})

function migrationProblem({ pending, unknown, changed }: MigrationState): Finding | undefined {
  if (unknown.length > 0) {
    const found = `The database has migrations that this version does not know: ${listing(unknown)}.`
    return schema('fail', found, 'Use the newer Sluice that made them.')
  }
  if (changed.length > 0) {
    const found = `Migrations were changed after they ran: ${listing(changed)}.`
    return schema('fail', found, 'Restore the files as they were released.')
  }
  if (pending.length === 0) return undefined
  return schema('fail', `Migrations are missing: ${listing(pending)}.`, 'Run `sluice migrate`.')
}

function engineProblem({ expected, found }: EngineSchema): Finding | undefined {
  if (found === expected) return undefined
  const is = found === undefined ? 'is missing' : `has version ${found}, this program’s has ${expected}`
  const advice =
    found !== undefined && found > expected ? 'Use the newer Sluice that migrated it.' : 'Run `sluice migrate`.'
  return { ...schema('fail', `The engine’s schema ${is}.`, advice), readable: false }
}

function driftProblem({ missing, changed, otherServer }: CatalogueDrift, engine: EngineSchema): Finding | undefined {
  const ours = otherServer ? [] : [...missing.map((name) => `${name} (missing)`), ...changed]
  const differing = [...ours, ...engine.drift.map((name) => `${name} of the engine`)]
  if (differing.length === 0) return undefined
  const advice = 'Somebody changed it by hand: put it back as the migrations in src/database/migrations have it.'
  return schema('fail', `The schema is not as the migrations left it: ${listing(differing)}.`, advice)
}
