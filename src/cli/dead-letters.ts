import type { Command } from 'commander'
import { shortTarget } from '../client/index.ts'
import type { TaskEvent } from '../contract/event.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { describeAction } from './many.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { addFilterOptions, type FilterOptions, toFilter } from './task-filter.ts'
import { taskDetail } from './task-text.ts'
import { UsageError } from './usage-error.ts'

interface ReplayOptions extends ConnectionOptions, FilterOptions {
  readonly all?: boolean
  readonly dryRun?: boolean
}

/** `sluice dead-letters list | get | replay` */
export function addDeadLettersCommand(program: Command, terminal: Terminal): void {
  const deadLetters = program.command('dead-letters').description('tasks whose attempts were used up')
  addConnectionOptions(addFilterOptions(deadLetters.command('list').description('newest first'))).action(
    (options: ConnectionOptions & FilterOptions) =>
      runCommand(terminal, options, async (signal) => {
        const { status: _ended, ...filter } = toFilter(options) ?? {}
        const page = await (await connect(options, terminal.env)).deadLetters(filter, { signal })
        if (options.json === true) printJson(terminal, page)
        else if (page.items.length === 0) printLine(terminal, 'No dead letters.')
        else
          for (const task of page.items) printLine(terminal, `${task.task_id}  ${task.operation}  ${taskDetail(task)}`)
        return exitCodes.completed
      }),
  )

  addConnectionOptions(
    deadLetters.command('get <task>').description('one of them, with the error of each attempt'),
  ).action((taskId: string, options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      const letter = await (await connect(options, terminal.env)).deadLetter(taskId, { signal })
      if (options.json === true) printJson(terminal, letter)
      else {
        const { task, attempts } = letter
        printLine(terminal, `${task.task_id}  ${task.operation}  ${shortTarget(task.target)}  by ${task.requested_by}`)
        for (const { at, data } of attempts)
          printLine(terminal, `  ${at}  attempt ${String(data['attempt'])}  ${detailOf(data)}`)
      }
      return exitCodes.completed
    }),
  )

  addConnectionOptions(
    addFilterOptions(
      deadLetters
        .command('replay [tasks...]')
        .description('ask for these changes again, as new tasks; of those that fit, each that was not replayed before'),
    )
      .option('--all', 'every one that was not replayed before')
      .option('--dry-run', 'only count them'),
  ).action((taskIds: string[], options: ReplayOptions) =>
    runCommand(terminal, options, async (signal) => {
      const said = toFilter(options)
      if (taskIds.length === 0 && options.all !== true && said === undefined)
        throw new UsageError('Which ones? Name tasks, or say with --operation, --label, … which ones fit, or --all.')
      const filter = { ...(taskIds.length > 0 && { task_ids: taskIds }), ...said }
      const client = await connect(options, terminal.env)
      const asked = Object.keys(filter).length > 0 ? filter : undefined
      const answer = await client.replayDeadLetters(asked, { signal, dryRun: options.dryRun })
      const named = new Set(taskIds).size
      return describeAction(terminal, answer, { json: options.json, verb: 'replayed', named })
    }),
  )
}

function detailOf({ error }: TaskEvent['data']): string {
  return typeof error === 'object' && error !== null && 'detail' in error ? String(error.detail) : ''
}
