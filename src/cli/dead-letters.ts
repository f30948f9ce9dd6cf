import type { Command } from 'commander'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { describeAction } from './many.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { taskDetail } from './task-text.ts'
import { UsageError } from './usage-error.ts'

interface ReplayOptions extends ConnectionOptions {
  readonly all?: boolean
  readonly operation?: string[]
  readonly dryRun?: boolean
}

/** `sluice dead-letters list | replay` */
export function addDeadLettersCommand(program: Command, terminal: Terminal): void {
  const deadLetters = program.command('dead-letters').description('tasks whose attempts were used up')
  addConnectionOptions(
    deadLetters.command('list').description('newest first').option('--operation <type...>', 'of any of these kinds'),
  ).action((options: ReplayOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const page = await client.deadLetters({ operation: options.operation }, { signal })
      if (options.json === true) printJson(terminal, page)
      else if (page.items.length === 0) printLine(terminal, 'No dead letters.')
      else for (const task of page.items) printLine(terminal, `${task.task_id}  ${task.operation}  ${taskDetail(task)}`)
      return exitCodes.completed
    }),
  )

  addConnectionOptions(
    deadLetters
      .command('replay [tasks...]')
      .description('ask for these changes again, as new tasks; each dead letter once')
      .option('--all', 'every one that was not replayed before')
      .option('--operation <type...>', 'every one of these kinds')
      .option('--dry-run', 'only count them'),
  ).action((taskIds: string[], options: ReplayOptions) =>
    runCommand(terminal, options, async (signal) => {
      if (taskIds.length === 0 && options.all !== true && options.operation === undefined)
        throw new UsageError('Which ones? Name tasks, or --operation, or --all.')
      const filter = {
        ...(taskIds.length > 0 && { task_ids: taskIds }),
        ...(options.operation && { operation: options.operation }),
      }
      const client = await connect(options, terminal.env)
      const asked = Object.keys(filter).length > 0 ? filter : undefined
      const answer = await client.replayDeadLetters(asked, { signal, dryRun: options.dryRun })
      return describeAction(terminal, answer, { json: options.json, verb: 'replayed' })
    }),
  )
}
