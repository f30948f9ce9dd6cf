import { readReindexCommands } from '../../queue/engine-health.ts'
import { type Finding, grade, listing, type Patient } from './finding.ts'
import { isAutovacuumOn, readLongTransactions, readSizes, readTuples } from './health.sql.ts'

/** Transactions that keep PostgreSQL from cleaning up, and live feeds from going on. */
export async function examineTransactions({ pool, limits }: Patient): Promise<Finding> {
  const long = await readLongTransactions(pool, limits.transactionMs.warn)
  const check = 'long transactions'
  const [oldest] = long
  if (!oldest) return { check, state: 'ok', found: 'None.', advice: null }
  const state = grade(oldest.seconds * 1000, limits.transactionMs)
  const shown = long.map(({ pid, application, state: doing, seconds, query }) =>
    `${pid === null ? 'prepared' : `pid ${pid}`} (${application}, ${doing}, ${Math.round(seconds)} s): ${query}`.trim(),
  )
  const end =
    oldest.pid === null ? `rollback prepared '${oldest.query}'` : `pg_terminate_backend(${oldest.pid}) ends it`
  const advice = `While it is open, nothing that died since it began is cleaned up. If nobody needs it: ${end}.`
  return { check, state, found: `Open: ${listing(shown, 3)}.`, advice }
}

/** Rows that were replaced or deleted and not yet cleaned up. */
export async function examineDeadTuples({ pool, limits }: Patient): Promise<Finding> {
  const check = 'dead tuples'
  if (!(await isAutovacuumOn(pool))) {
    const found = 'Autovacuum is off: nothing is ever cleaned up.'
    return { check, state: 'fail', found, advice: 'Turn autovacuum and track_counts on in postgresql.conf.' }
  }
  const tables = await readTuples(pool)
  const graded = tables.map((one) => ({ ...one, state: gradeTuples(one, limits) }))
  const many = graded.filter(({ state }) => state !== 'ok')
  const unattended = tables.filter((one) => one.unattended).map(({ table }) => table)
  const worst = graded.some(({ state }) => state === 'fail') ? 'fail' : 'warn'
  if (many.length > 0) {
    const found = `Many: ${listing(many.map(({ table, dead, live }) => `${table} ${dead} beside ${live} live ones`))}.`
    const advice = `Autovacuum does not keep up: look for long transactions first, then VACUUM (ANALYZE) ${many[0]?.table}`
    return { check, state: worst, found, advice }
  }
  if (unattended.length > 0) {
    const found = `Autovacuum leaves ${listing(unattended)} alone.`
    return {
      check,
      state: 'warn',
      found,
      advice: `Take it back: ALTER TABLE ${unattended[0]} RESET (autovacuum_enabled)`,
    }
  }
  const dead = tables.reduce((sum, one) => sum + one.dead, 0)
  return { check, state: 'ok', found: `${dead} in all; autovacuum is on.`, advice: null }
}

// Many beside the live ones: a table that changes often always has some.
function gradeTuples(
  { live, dead }: { readonly live: number; readonly dead: number },
  { deadTuples }: Patient['limits'],
): Finding['state'] {
  if (dead >= deadTuples.fail && dead >= live) return 'fail'
  return dead >= deadTuples.warn && dead >= live / 5 ? 'warn' : 'ok'
}

/** Room that tables take and do not use, and the engine's own word on its indexes. */
export async function examineBloat({ pool, limits }: Patient): Promise<Finding> {
  const check = 'bloat'
  const wasted = (await readSizes(pool)).map(({ table, bytes, neededBytes }) => ({
    table,
    bytes,
    wasted: bytes - neededBytes,
  }))
  const bloated = wasted.filter((one) => one.wasted >= limits.wastedBytes.warn && one.wasted >= one.bytes / 2)
  const reindex = await readReindexCommands(pool)
  const [first] = bloated
  if (first) {
    const shown = bloated.map((one) => `${one.table} ${mebibytes(one.wasted)} of ${mebibytes(one.bytes)}`)
    const advice = `To give it back: VACUUM FULL ${first.table}, which locks the table while it runs; pg_repack does not.`
    return { check, state: grade(first.wasted, limits.wastedBytes), found: `Unused: ${listing(shown)}.`, advice }
  }
  if (reindex.length > 0) {
    return { check, state: 'warn', found: 'Indexes of the engine are bloated.', advice: reindex.join('; ') }
  }
  const all = wasted.reduce((sum, one) => sum + Math.max(0, one.wasted), 0)
  return { check, state: 'ok', found: `About ${mebibytes(all)} unused in all tables.`, advice: null }
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 1024 ** 2)} MiB`
