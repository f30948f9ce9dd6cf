import type { Command } from 'commander'
import { isPrincipalName } from '../contract/identity.ts'
import { useDatabase } from './migrate.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { UsageError } from './usage-error.ts'

interface AdminOptions {
  readonly tenant: string
  readonly name: string
  readonly databaseUrl?: string
  readonly json?: boolean
}

/**
 * `sluice admin create`: the first admin of a tenant. It asks no server: who can write to the database is trusted with
 * this, and with nothing less.
 */
export function addAdminCommand(program: Command, terminal: Terminal): void {
  program
    .command('admin')
    .description('make the first admin of a tenant')
    .command('create')
    .description('make somebody admin of a tenant, directly in the database, and print a token for them, once')
    .requiredOption('--tenant <tenant>', 'lower-case letters, digits and hyphens')
    .requiredOption('--name <name>', 'of the admin')
    .option('--database-url <url>', 'postgres://… (DATABASE_URL)')
    .option('--json', 'print JSON on stdout and nothing else')
    .action((options: AdminOptions) =>
      runCommand(terminal, options, async () => {
        const { tenant, name: principal } = options
        const token = await useDatabase(options.databaseUrl ?? terminal.env['DATABASE_URL'], (url) =>
          createAdmin(url, { tenant, principal }),
        )
        if (options.json === true) printJson(terminal, { tenant, principal, role: 'admin', token })
        else printLine(terminal, token)
        return exitCodes.completed
      }),
    )
}

async function createAdmin(
  url: string,
  admin: { readonly tenant: string; readonly principal: string },
): Promise<string> {
  // Only this command needs the database's driver; the others start faster without it.
  const { createDatabase, isTenantId } = await import('../database/database.ts')
  const { withSource } = await import('../database/request-source.ts')
  const { migrate } = await import('../queue/migrate.ts')
  const { grantRole } = await import('../identity/role-bindings.ts')
  const { createToken } = await import('../identity/tokens.ts')
  if (!isTenantId(admin.tenant)) {
    throw new UsageError(`\`${admin.tenant}\` is not a tenant: lower-case letters, digits and hyphens, 63 at most.`)
  }
  if (!isPrincipalName(admin.principal)) {
    throw new UsageError(`\`${admin.principal}\` is not a name: letters, digits and . _ @ + -, 128 at most.`)
  }
  await migrate(url)
  const database = createDatabase({ url, poolMax: 1, poolMin: 0 })
  try {
    const actor = 'sluice admin create'
    return await withSource({ address: null, via: 'database' }, async () => {
      await grantRole(database, { ...admin, role: 'admin', actor })
      return (await createToken(database, { ...admin, actor, name: actor })).token
    })
  } finally {
    await database.stop()
  }
}
