import { Command, CommanderError } from 'commander'
import { productVersion } from '../platform/product-version.ts'
import { addAdminCommand } from './admin.ts'
import { addClientCommands, processTerminal } from './client-commands.ts'
import { describeFailure, describeStack } from './describe-failure.ts'
import { addDoctorCommand } from './doctor.ts'
import { addMigrateCommand } from './migrate.ts'
import { addSimulateCommand } from './simulate.ts'
import { addSecretsCommand } from './secrets.ts'
import { addStartCommand } from './start.ts'
import { UsageError } from './usage-error.ts'

/**
 * The `sluice` command.
 * @param args what stands behind `sluice` on the command line
 * @returns the exit code: 0 done, 1 failed, 2 used wrongly, 3 the server does not answer, 130 interrupted
 */
export async function runCli(args: readonly string[]): Promise<number> {
  let exitCode = 0
  const program = new Command('sluice')
    .description('Every change is a task: accepted, run, waited on, and seen')
    .version(productVersion, '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .exitOverride()
  const setExitCode = (code: number) => {
    exitCode = code
  }
  const terminal = { ...processTerminal(), setExitCode }
  addStartCommand(program, setExitCode)
  addMigrateCommand(program, terminal)
  addAdminCommand(program, terminal)
  addSecretsCommand(program, terminal)
  addClientCommands(program, terminal)
  addSimulateCommand(program, terminal)
  addDoctorCommand(program, terminal)
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has said it already; asking for help is no mistake.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    process.stderr.write(`${describeFailure(error, process.env['DATABASE_URL'])}\n${describeStack(error, process.env)}`)
    return error instanceof UsageError ? 2 : 1
  }
}
