import type { Command } from 'commander'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { UsageError } from './usage-error.ts'

interface MigrateOptions {
  readonly databaseUrl?: string
  readonly json?: boolean
}

/** PostgreSQL does not answer. */
class DatabaseUnreachableError extends Error {
  readonly code = 'unreachable'
  override readonly name = 'DatabaseUnreachableError'
}

const unreachableCodes = ['ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH', 'ECONNRESET', 'EAI_AGAIN', 'ENOENT']

/** `sluice migrate`: brings a database up to date; runs that overlap wait for each other. */
export function addMigrateCommand(program: Command, terminal: Terminal): void {
  program
    .command('migrate')
    .description('bring a PostgreSQL database up to date (`sluice start` does it for its own)')
    .option('--database-url <url>', 'postgres://… (DATABASE_URL)')
    .option('--json', 'print JSON on stdout and nothing else')
    .action((options: MigrateOptions) =>
      runCommand(terminal, options, async () => {
        const applied = await migrateDatabase(options.databaseUrl ?? terminal.env['DATABASE_URL'])
        if (options.json === true) printJson(terminal, { applied })
        else for (const name of applied) printLine(terminal, `Applied ${name}`)
        if (options.json !== true && applied.length === 0) printLine(terminal, 'The database is up to date.')
        return exitCodes.completed
      }),
    )
}

function migrateDatabase(databaseUrl: string | undefined): Promise<string[]> {
  return useDatabase(databaseUrl, async (url) => {
    // Only this command needs the database's driver; the others start faster without it.
    const { migrate } = await import('../queue/migrate.ts')
    return migrate(url)
  })
}

/**
 * Runs what works on the database itself. Throws `UsageError` where the address is none, and says who does not answer.
 */
export async function useDatabase<T>(
  databaseUrl: string | undefined,
  work: (databaseUrl: string) => Promise<T>,
): Promise<T> {
  const protocol = databaseUrl !== undefined && URL.canParse(databaseUrl) ? new URL(databaseUrl).protocol : undefined
  if (databaseUrl === undefined || (protocol !== 'postgres:' && protocol !== 'postgresql:')) {
    throw new UsageError('Which database? Set DATABASE_URL or pass --database-url postgres://user@host:5432/name')
  }
  try {
    return await work(databaseUrl)
  } catch (error) {
    if (!isUnreachable(error)) throw error
    const { host } = new URL(databaseUrl)
    const reason = error instanceof Error ? error.message || String(error) : String(error)
    throw new DatabaseUnreachableError(`No answer from PostgreSQL at ${host}: ${reason}`, { cause: error })
  }
}

function isUnreachable(error: unknown): boolean {
  // `localhost` is tried over IPv4 and IPv6; then one error holds both.
  if (error instanceof AggregateError) return error.errors.some(isUnreachable)
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? error.code : undefined
  return (typeof code === 'string' && unreachableCodes.includes(code)) || error.message.startsWith('timeout expired')
}
