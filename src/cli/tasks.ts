import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { ageOf, duration, shortTarget } from '../client/index.ts'
import type { BulkFilter } from '../contract/task-list.ts'
import type { Task } from '../contract/task.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { followTask } from './follow-task.ts'
import { describeAction } from './many.ts'
import { describeProblem, exitCodes, paint, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { wholeNumber } from './submit.ts'
import { addFilterOptions, type FilterOptions, toFilter } from './task-filter.ts'
import { paintStatus, taskDetail } from './task-text.ts'
import { UsageError } from './usage-error.ts'

interface ListOptions extends ConnectionOptions, FilterOptions {
  readonly limit: number
  readonly pageToken?: string
}

/** `sluice tasks list | get | watch | cancel | retry` */
export function addTasksCommand(program: Command, terminal: Terminal): void {
  const tasks = program.command('tasks').description('see and cancel tasks')
  addConnectionOptions(
    addFilterOptions(tasks.command('list').description('newest first'))
      .option('--limit <n>', 'at most so many, up to 200', wholeNumber, 50)
      .option('--page-token <token>', 'go on where the last page ended'),
  ).action((options: ListOptions) => runCommand(terminal, options, (signal) => list(terminal, { ...options, signal })))

  addRetryCommand(tasks, terminal)
  addConnectionOptions(tasks.command('get <task>').description('one task as it is now')).action(
    (taskId: string, options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const task = await (await connect(options, terminal.env)).getTask(taskId, { signal })
        if (options.json === true) printJson(terminal, task)
        else printTask(terminal, task)
        return exitCodes.completed
      }),
  )

  addConnectionOptions(
    tasks
      .command('result <task>')
      .description('what a completed task made, however large it is')
      .option('--output <file>', 'write it there, byte by byte, in place of standard output'),
  ).action((taskId: string, options: ConnectionOptions & { readonly output?: string }) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const { body } = await client.openTaskResult(taskId, { signal })
      await writeBody(terminal, body, options.output)
      return exitCodes.completed
    }),
  )

  addConnectionOptions(
    tasks.command('watch <task>').description('follow a task to its end; --json prints its events'),
  ).action((taskId: string, options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      return followTask(terminal, client, { taskId, signal, json: options.json, events: true })
    }),
  )

  addCancelCommand(tasks, terminal)
}

interface ManyOptions extends ConnectionOptions, FilterOptions {
  readonly dryRun?: boolean
}

function addCancelCommand(tasks: Command, terminal: Terminal): void {
  addConnectionOptions(
    addFilterOptions(
      tasks.command('cancel [task]').description('stop a task, or all that fit; what they changed so far stays'),
    )
      .option('--wait', 'until it has ended')
      .option('--dry-run', 'only count those that fit'),
  ).action((taskId: string | undefined, options: ManyOptions & { readonly wait?: boolean }) =>
    runCommand(terminal, options, async (signal) => {
      const filter = oneOrMany(taskId, options)
      const client = await connect(options, terminal.env)
      if (filter) {
        const answer = await client.cancelTasks(filter, { signal, dryRun: options.dryRun })
        return describeAction(terminal, answer, { json: options.json, verb: 'cancelled' })
      }
      const answer = await client.cancelTask(taskId ?? '', { signal })
      const task = options.wait === true ? await client.waitForTask(taskId ?? '', { signal }) : answer.task
      if (options.json === true) printJson(terminal, task)
      else printLine(terminal, `${paintStatus(terminal, task.status)}  ${answer.message}`)
      return options.wait === true && task.status !== 'CANCELLED' ? exitCodes.failed : exitCodes.completed
    }),
  )
}

// Either one task or what fits a filter: nobody means both, and nothing at all would mean every task.
function oneOrMany(taskId: string | undefined, options: FilterOptions): BulkFilter | undefined {
  const filter = toFilter(options)
  if ((taskId === undefined) === (filter === undefined))
    throw new UsageError('Which ones? Name one task, or say with --status, --operation, … which ones fit.')
  return filter
}

async function writeBody(terminal: Terminal, body: Response['body'], file: string | undefined): Promise<void> {
  if (file !== undefined) {
    await pipeline(body ?? [], createWriteStream(file))
    return
  }
  const decoder = new TextDecoder()
  for await (const chunk of body ?? []) terminal.stdout.write(decoder.decode(chunk, { stream: true }))
  terminal.stdout.write(decoder.decode())
}

function addRetryCommand(tasks: Command, terminal: Terminal): void {
  addConnectionOptions(
    addFilterOptions(
      tasks
        .command('retry [task]')
        .description('try again what failed, timed out or was cancelled: one task, or all that fit; as new tasks'),
    ).option('--dry-run', 'only count those that fit'),
  ).action((taskId: string | undefined, options: ManyOptions) =>
    runCommand(terminal, options, async (signal) => {
      const filter = oneOrMany(taskId, options)
      const client = await connect(options, terminal.env)
      if (filter) {
        const answer = await client.retryTasks(filter, { signal, dryRun: options.dryRun })
        return describeAction(terminal, answer, { json: options.json, verb: 'tried again' })
      }
      const answer = await client.retryTask(taskId ?? '', { signal })
      if (options.json === true) printJson(terminal, answer)
      else printLine(terminal, `${answer.task_id}  ${answer.message}`)
      return exitCodes.completed
    }),
  )
}

async function list(terminal: Terminal, options: ListOptions & { readonly signal: AbortSignal }): Promise<number> {
  const client = await connect(options, terminal.env)
  const filter = { ...toFilter(options), page_size: options.limit, page_token: options.pageToken }
  const page = await client.listTasks(filter, { signal: options.signal })
  if (options.json === true) {
    printJson(terminal, page)
    return exitCodes.completed
  }
  if (page.items.length === 0) printLine(terminal, 'No tasks.')
  else printTable(terminal, page.items)
  if (page.next_page_token !== null) {
    printLine(terminal, paint(terminal, 'dim', `More: the same with --page-token ${page.next_page_token}`))
  }
  return exitCodes.completed
}

function printTable(terminal: Terminal, tasks: readonly Task[]): void {
  const rows = tasks.map((task) => ({
    status: task.status,
    cells: [task.task_id, task.operation, shortTarget(task.target), duration(ageOf(task)), taskDetail(task)],
  }))
  const titles = ['TASK', 'OPERATION', 'TARGET', 'ELAPSED', 'DETAIL']
  const widths = titles.map((title, n) => Math.max(title.length, ...rows.map(({ cells }) => cells[n]?.length ?? 0)))
  const statusWidth = Math.max(6, ...rows.map(({ status }) => status.length))
  const line = (status: string, cells: readonly string[]) => {
    const [id = '', ...others] = cells.map((cell, n) => (n === titles.length - 1 ? cell : cell.padEnd(widths[n] ?? 0)))
    return [id, status, ...others].join('  ').trimEnd()
  }
  printLine(terminal, paint(terminal, 'dim', line('STATUS'.padEnd(statusWidth), titles)))
  for (const { status, cells } of rows) {
    const before = line('', cells.slice(0, 4)).length + statusWidth + 4
    const room = terminal.stdout.isTTY ? Math.max(10, terminal.stdout.columns - before) : Infinity
    const detail = cells[4] ?? ''
    const cut = detail.length > room ? `${detail.slice(0, room - 1)}…` : detail
    printLine(terminal, line(paintStatus(terminal, status, statusWidth), [...cells.slice(0, 4), cut]))
  }
}

function printTask(terminal: Terminal, task: Task): void {
  const fields: [string, string | null][] = [
    ['task', task.task_id],
    ['status', task.dead_lettered ? `${task.status} (dead letter: attempts used up)` : task.status],
    ['operation', task.operation],
    ['target', task.target],
    ['requested by', [task.requested_by, ...task.joined_by].join(', ')],
    ['attempt', task.attempt === 0 ? null : `${task.attempt} of ${task.max_attempts}`],
    ['next attempt', task.next_attempt_at],
    [
      'labels',
      Object.entries(task.labels)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
    ],
    ['created', task.created_at],
    ['started', task.started_at],
    ['deadline', task.done ? null : task.deadline_at],
    ['completed', task.completed_at],
    ['elapsed', duration(ageOf(task))],
    ['trace', task.trace_id],
    ['detail', task.error === null ? taskDetail(task) : null],
    ['result', task.result === null ? null : JSON.stringify(task.result)],
  ]
  const shown = fields.filter(([, value]) => value !== null && value !== '')
  for (const [name, value] of shown) printLine(terminal, `${paint(terminal, 'dim', name.padEnd(13))} ${value}`)
  if (task.error !== null)
    printLine(terminal, `${paint(terminal, 'dim', 'error'.padEnd(13))} ${describeProblem(task.error)}`)
}
