import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { useDatabase } from './migrate.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { parseSecretKeys } from './secret-key.ts'
import { UsageError } from './usage-error.ts'

interface RotateOptions {
  readonly databaseUrl?: string
  readonly keyFile?: string
  readonly dryRun?: boolean
  readonly json?: boolean
}

/** `sluice secrets rotate`: puts every secret in the database under the first of the keys. */
export function addSecretsCommand(program: Command, terminal: Terminal): void {
  program
    .command('secrets')
    .description('the key that seals secrets in the database')
    .command('rotate')
    .description('wrap the data keys of all secrets with the first key of SLUICE_SECRET_KEY (new,old)')
    .option('--database-url <url>', 'postgres://… (DATABASE_URL)')
    .option('--key-file <file>', 'keys, one a line, the new one first, in the place of SLUICE_SECRET_KEY')
    .option('--dry-run', 'only count')
    .option('--json', 'print JSON on stdout and nothing else')
    .action((options: RotateOptions) =>
      runCommand(terminal, options, async () => {
        const keys = await readKeys(options.keyFile, terminal.env['SLUICE_SECRET_KEY'])
        const rotation = await useDatabase(options.databaseUrl ?? terminal.env['DATABASE_URL'], (url) =>
          rotate(url, keys, options.dryRun === true),
        )
        if (options.json === true) printJson(terminal, rotation)
        else {
          const would = options.dryRun === true ? 'would be' : 'were'
          printLine(
            terminal,
            `${rotation.rewrapped} secrets ${would} put under the key ${rotation.keyId}; ${rotation.current} were under it already.`,
          )
        }
        return exitCodes.completed
      }),
    )
}

async function readKeys(file: string | undefined, variable: string | undefined): Promise<readonly Buffer[]> {
  if (file !== undefined) {
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`${file} cannot be read (${error.code ?? error.message}).`)
    })
    return parseSecretKeys(text, file)
  }
  if (variable !== undefined && variable !== '') return parseSecretKeys(variable, 'SLUICE_SECRET_KEY')
  throw new UsageError('Which key? Set SLUICE_SECRET_KEY to the new key, a comma and the old one, or pass --key-file.')
}

async function rotate(url: string, keys: readonly Buffer[], dryRun: boolean) {
  // Only this command needs the database's driver; the others start faster without it.
  const { createDatabase } = await import('../database/database.ts')
  const { withSource } = await import('../database/request-source.ts')
  const { createSecretBox } = await import('../platform/secret-box.ts')
  const { rotateSecrets } = await import('../tasks/rotate-secrets.ts')
  const database = createDatabase({ url, poolMax: 1, poolMin: 0 })
  try {
    return await withSource({ address: null, via: 'database' }, () =>
      rotateSecrets({ database, secrets: createSecretBox(keys), dryRun }),
    )
  } finally {
    await database.stop()
  }
}
