import type { Command } from 'commander'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'

/** `sluice console`: a new one-time link into the browser's console. */
export function addConsoleCommand(program: Command, terminal: Terminal): void {
  addConnectionOptions(program.command('console').description('print a new one-time link into the console')).action(
    (options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const link = await (await connect(options, terminal.env)).createSignInLink({ signal })
        if (options.json === true) printJson(terminal, link)
        else printLine(terminal, link.url)
        return exitCodes.completed
      }),
  )
}
