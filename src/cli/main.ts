import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { describeFailure, describeStack } from './describe-failure.ts'
import { addStartCommand } from './start.ts'
import { UsageError } from './usage-error.ts'

/**
 * The `sluice` command.
 * @param args what stands behind `sluice` on the command line
 * @returns the exit code: 0 done, 1 failed, 2 used wrongly
 */
export async function runCli(args: readonly string[]): Promise<number> {
  // A reader that went away (`sluice … | head -1`) is no failure of ours.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
  let exitCode = 0
  const program = new Command('sluice')
    .description('Every change is a task: accepted, run, waited on, and seen')
    .version(readVersion(), '--version', 'print the version')
    .helpOption('--help', 'print this help')
    .exitOverride()
  addStartCommand(program, (code) => (exitCode = code))
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

function readVersion(): string {
  const found: unknown = createRequire(import.meta.url)('../../package.json')
  return typeof found === 'object' && found !== null && 'version' in found ? String(found.version) : ''
}
