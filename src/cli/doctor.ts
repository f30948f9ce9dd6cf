import type { Command } from 'commander'
import type { Examination } from '../worker/doctor/examine.ts'
import { readConnectionSettings } from './embedded-postgres/connection-settings.ts'
import { useDatabase } from './migrate.ts'
import { exitCodes, paint, printJson, printLine, runCommand, type Style, type Terminal } from './output.ts'

interface DoctorOptions {
  readonly databaseUrl?: string
  readonly data?: string
  readonly strict?: boolean
  readonly json?: boolean
}

const styles = { ok: 'green', warn: 'yellow', fail: 'red' } as const satisfies Record<Examination['state'], Style>

/** `sluice doctor`: asks no server, so that it helps where none is up. */
export function addDoctorCommand(program: Command, terminal: Terminal): void {
  program
    .command('doctor')
    .description('what is wrong with the database and the processes on it, and what to do; changes nothing')
    .option('--database-url <url>', 'postgres://… (DATABASE_URL, else the one in the data folder)')
    .option('--data <folder>', 'data folder of `sluice start` (SLUICE_DATA_DIR, default .sluice)')
    .option('--strict', 'a warning fails, too')
    .option('--json', 'print JSON on stdout and nothing else')
    .addHelpText(
      'after',
      '\nExit code: 0 when nothing fails, 1 when something does, 3 when PostgreSQL does not answer.',
    )
    .action((options: DoctorOptions) =>
      runCommand(terminal, options, async () => {
        const given = options.databaseUrl ?? terminal.env['DATABASE_URL']
        const url = given ?? (await embeddedUrl(options.data ?? terminal.env['SLUICE_DATA_DIR'] ?? '.sluice'))
        const examination = await useDatabase(url, async (databaseUrl) => {
          // Only this command needs the database's driver; the others start faster without it.
          const { examine } = await import('../worker/doctor/examine.ts')
          return examine({ databaseUrl })
        })
        if (options.json === true) printJson(terminal, examination)
        else print(terminal, examination)
        const failed = examination.state === 'fail' || (options.strict === true && examination.state === 'warn')
        return failed ? exitCodes.failed : exitCodes.completed
      }),
    )
}

async function embeddedUrl(dataDir: string): Promise<string | undefined> {
  const settings = await readConnectionSettings(dataDir)
  return settings && `postgres://postgres:${settings.password}@127.0.0.1:${settings.port}/sluice`
}

function print(terminal: Terminal, { findings }: Examination): void {
  const width = Math.max(...findings.map(({ check }) => check.length))
  for (const { check, state, found, advice } of findings) {
    printLine(terminal, `${paint(terminal, styles[state], state.padEnd(4))}  ${check.padEnd(width)}  ${found}`)
    if (advice !== null) printLine(terminal, `${' '.repeat(width + 8)}→ ${advice}`)
  }
}
