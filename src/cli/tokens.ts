import { type Command, Option } from 'commander'
import { permissions, type ApiToken, type Permission } from '../contract/identity.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { wholeNumber } from './submit.ts'

interface CreateOptions extends ConnectionOptions {
  readonly name: string
  readonly principal?: string
  readonly scope?: readonly Permission[]
  readonly expiresInDays?: number
}

/** `sluice tokens create | list | revoke` */
export function addTokensCommand(program: Command, terminal: Terminal): void {
  const tokens = program.command('tokens').description('API tokens, for people and machines')
  addConnectionOptions(
    tokens
      .command('create')
      .description('make a token and print it, once')
      .requiredOption('--name <name>', 'what it is for')
      .option('--principal <name>', 'whose; an admin may name somebody else (default: yours)')
      .addOption(new Option('--scope <permission...>', 'no more than these').choices(permissions))
      .option('--expires-in-days <n>', 'without it, until it is revoked', wholeNumber),
  ).action((options: CreateOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const { name, principal, scope, expiresInDays } = options
      const created = await client.createToken(
        {
          name,
          ...(principal !== undefined && { principal }),
          ...(scope !== undefined && { scopes: [...scope] }),
          ...(expiresInDays !== undefined && { expires_in_days: expiresInDays }),
        },
        { signal },
      )
      if (options.json === true) printJson(terminal, created)
      else printLine(terminal, created.token)
      return exitCodes.completed
    }),
  )

  addConnectionOptions(
    tokens
      .command('list')
      .description('your tokens, for an admin everybody’s; newest first')
      .option('--page-token <token>', 'go on where the last page ended'),
  ).action((options: ConnectionOptions & { readonly pageToken?: string }) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const page = await client.listTokens({ pageSize: 200, pageToken: options.pageToken, signal })
      if (options.json === true) printJson(terminal, page)
      else if (page.items.length === 0) printLine(terminal, 'No tokens.')
      else for (const token of page.items) printLine(terminal, summary(token))
      if (options.json !== true && page.next_page_token !== null) {
        printLine(terminal, `More: the same with --page-token ${page.next_page_token}`)
      }
      return exitCodes.completed
    }),
  )

  addConnectionOptions(
    tokens.command('revoke <token-id>').description('end a token; what it has open is closed within 5 s'),
  ).action((tokenId: string, options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      await (await connect(options, terminal.env)).revokeToken(tokenId, { signal })
      if (options.json === true) printJson(terminal, { revoked: tokenId })
      else printLine(terminal, `Revoked ${tokenId}`)
      return exitCodes.completed
    }),
  )
}

function summary(token: ApiToken): string {
  const { token_id: id, prefix, principal, name, last_used_at: used } = token
  const state = stateOf(token)
  return [id, `${prefix}…`, state, principal, name, used === null ? 'never used' : `last used ${used}`].join('  ')
}

function stateOf({ revoked_at: revoked, expires_at: expires }: ApiToken): string {
  if (revoked !== null) return `revoked ${revoked}`
  if (expires === null) return 'until revoked'
  return `${Date.parse(expires) <= Date.now() ? 'expired' : 'until'} ${expires}`
}
