import { type Command, InvalidArgumentError } from 'commander'
import { type Role, roles } from '../contract/identity.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'

/** `sluice role-bindings list | grant | withdraw` */
export function addRoleBindingsCommand(program: Command, terminal: Terminal): void {
  const bindings = program.command('role-bindings').description('who has which role in the tenant')
  addConnectionOptions(
    bindings
      .command('list')
      .description('by principal')
      .option('--page-token <token>', 'go on where the last page ended'),
  ).action((options: ConnectionOptions & { readonly pageToken?: string }) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const page = await client.listRoleBindings({ pageSize: 200, pageToken: options.pageToken, signal })
      if (options.json === true) printJson(terminal, page)
      else if (page.items.length === 0) printLine(terminal, 'No role bindings.')
      else
        for (const { principal, group, role, environments, granted_by: by } of page.items)
          printLine(terminal, `${principal ?? `group ${group}`}  ${role}${where(environments)}  granted by ${by}`)
      if (options.json !== true && page.next_page_token !== null) {
        printLine(terminal, `More: the same with --page-token ${page.next_page_token}`)
      }
      return exitCodes.completed
    }),
  )

  for (const verb of ['grant', 'withdraw'] as const) {
    const command = bindings
      .command(verb)
      .argument('<name>', 'of a person, a machine or a group')
      .argument('<role>', roles.join(', '), parseRole)
      .option('--group', 'the name is that of a group at the identity provider')
      .description(
        verb === 'grant' ? 'give a role, or change where it holds' : 'take a role; it is gone everywhere within 5 s',
      )
    if (verb === 'grant') {
      command.option(
        '--environment <environment...>',
        'where the role holds, by the policy’s names (default: everywhere)',
      )
    }
    addConnectionOptions(command).action((name: string, role: Role, options: BindingOptions) =>
      runCommand(terminal, options, async (signal) => {
        const client = await connect(options, terminal.env)
        const binding = { ...(options.group === true ? { group: name } : { principal: name }), role }
        const { environment: environments } = options
        if (verb === 'grant') await client.grantRole({ ...binding, ...(environments && { environments }) }, { signal })
        else await client.withdrawRole(binding, { signal })
        if (options.json === true) printJson(terminal, binding)
        else
          printLine(
            terminal,
            verb === 'grant' ? `${name} is ${role}${where(environments)}` : `${name} is no longer ${role}`,
          )
        return exitCodes.completed
      }),
    )
  }
}

interface BindingOptions extends ConnectionOptions {
  readonly group?: boolean
  readonly environment?: string[]
}

const where = (environments: readonly string[] | null | undefined): string =>
  environments ? ` in ${environments.join(', ')}` : ''

function parseRole(text: string): Role {
  const role = roles.find((name) => name === text)
  if (role) return role
  throw new InvalidArgumentError(`It is one of ${roles.join(', ')}.`)
}
