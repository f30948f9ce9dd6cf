import type { Command } from 'commander'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, paint, printJson, printLine, runCommand, type Terminal } from './output.ts'

/** `sluice operations`: the kinds of change the server knows. */
export function addOperationsCommand(program: Command, terminal: Terminal): void {
  addConnectionOptions(program.command('operations').description('the kinds of change that can be asked for')).action(
    (options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const operations = await (await connect(options, terminal.env)).operations({ signal })
        if (options.json === true) {
          printJson(terminal, { items: operations })
          return exitCodes.completed
        }
        const width = Math.max(0, ...operations.map(({ type }) => type.length))
        for (const { type, summary, flag, input_schema: schema } of operations) {
          const off = flag?.enabled === false ? `  (off: feature flag ${flag.name})` : ''
          printLine(terminal, `${type.padEnd(width)}  ${summary ?? ''}${off}`.trimEnd())
          const fields = fieldNames(schema)
          if (fields !== '') printLine(terminal, paint(terminal, 'dim', `${' '.repeat(width)}  ${fields}`))
        }
        return exitCodes.completed
      }),
  )
}

/** `name, organization, [display_name]`: required ones first, optional ones in brackets. */
function fieldNames(schema: Readonly<Record<string, unknown>>): string {
  const required = Array.isArray(schema['required']) ? schema['required'].map(String) : []
  const properties = schema['properties']
  const names = typeof properties === 'object' && properties !== null ? Object.keys(properties) : required
  const optional = names.filter((name) => !required.includes(name)).map((name) => `[${name}]`)
  return [...required, ...optional].join(', ')
}
