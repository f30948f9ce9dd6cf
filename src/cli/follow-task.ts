import { ageOf, duration, isPassing, localTimes, shortTarget, type SluiceClient } from '../client/index.ts'
import type { TaskEvent } from '../contract/event.ts'
import type { Task } from '../contract/task.ts'
import { exitCodes, InterruptedError, paint, printJson, printLine, type Terminal } from './output.ts'
import { paintStatus, taskDetail } from './task-text.ts'

/** Why a task waits can change without an event (its place in the queue), so it is asked for anew this often. */
const refreshMs = 2000
const redrawMs = 100
const spinner = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']

export interface FollowOptions {
  readonly signal: AbortSignal
  readonly json?: boolean | undefined
  /** With `json`: print the events as lines, or the ended task alone. */
  readonly events?: boolean
}

/** Shows a task until it has ended: a line that is redrawn on a terminal, a line per change elsewhere. */
export async function followTask(
  terminal: Terminal,
  client: SluiceClient,
  { taskId, ...options }: FollowOptions & { readonly taskId: string },
): Promise<number> {
  try {
    if (options.json === true) return await followAsJson(terminal, client, { taskId, ...options })
    const display = terminal.stdout.isTTY ? showOnTerminal(terminal) : showAsLines(terminal)
    try {
      const task = await followChanges(client, taskId, { signal: options.signal, show: display.show })
      display.end(task)
      return exitCodeOfTask(task)
    } finally {
      display.stop()
    }
  } catch (error) {
    if (!options.signal.aborted) throw error
    throw new InterruptedError(`The task goes on. See it again: sluice tasks watch ${taskId}`)
  }
}

function exitCodeOfTask(task: Task): number {
  return task.status === 'COMPLETED' ? exitCodes.completed : exitCodes.failed
}

async function followAsJson(
  terminal: Terminal,
  client: SluiceClient,
  { taskId, signal, events }: FollowOptions & { readonly taskId: string },
): Promise<number> {
  if (events === true) {
    const print = (event: TaskEvent) => printJson(terminal, event)
    for await (const event of client.watchTask(taskId, { signal })) print(event)
  }
  const task = await client.waitForTask(taskId, { signal })
  if (events !== true) printJson(terminal, task)
  return exitCodeOfTask(task)
}

/** Calls `show` with the task at first, after each event, and now and then; resolves with the ended task. */
async function followChanges(
  client: SluiceClient,
  taskId: string,
  { signal, show }: { readonly signal: AbortSignal; readonly show: (task: Task) => void },
): Promise<Task> {
  let reading: Promise<void> | undefined
  const refresh = () => {
    reading ??= client
      .getTask(taskId, { signal })
      .then(show, (error: unknown) => {
        // The watch below reconnects, and is the one to say when there is no more hope.
        if (!isPassing(error) && !signal.aborted) throw error
      })
      .finally(() => (reading = undefined))
    return reading
  }
  await refresh()
  const timer = setInterval(() => void refresh().catch(() => undefined), refreshMs)
  try {
    for await (const _event of client.watchTask(taskId, { signal })) await refresh()
    return await client.waitForTask(taskId, { signal })
  } finally {
    clearInterval(timer)
  }
}

interface Display {
  readonly show: (task: Task) => void
  readonly end: (task: Task) => void
  /** Leaves the terminal as it was; idempotent. */
  readonly stop: () => void
}

function showAsLines(terminal: Terminal): Display {
  let last = ''
  const show = (task: Task) => {
    const attempt = task.attempt > 1 ? `  attempt ${task.attempt} of ${task.max_attempts}` : ''
    const text = `${task.status}${attempt}  ${taskDetail(task)}`.trimEnd()
    if (text === last || task.done) return
    last = text
    printLine(terminal, `${duration(ageOf(task)).padStart(8)}  ${text}`)
  }
  return { show, end: (task) => printEnd(terminal, task), stop: () => undefined }
}

function showOnTerminal(terminal: Terminal): Display {
  let task: Task | undefined
  let frame = 0
  const clear = () => terminal.stdout.write('\r\u001b[K')
  const draw = () => {
    if (task === undefined || task.done) return
    const mark = spinner[frame++ % spinner.length] ?? ''
    const attempt = task.attempt > 1 ? `attempt ${task.attempt} of ${task.max_attempts}` : ''
    const elapsed = duration(ageOf(task))
    const rest = [attempt, localTimes(taskDetail(task))].filter((text) => text !== '').join(' · ')
    const room = terminal.stdout.columns - mark.length - task.status.length - elapsed.length - 6
    const shown = rest.length > room ? `${rest.slice(0, Math.max(0, room - 1))}…` : rest
    clear()
    terminal.stdout.write(`${mark} ${paintStatus(terminal, task.status)}  ${shown}  ${paint(terminal, 'dim', elapsed)}`)
  }
  const timer = setInterval(draw, redrawMs)
  let stopped = false
  const stop = () => {
    clearInterval(timer)
    if (!stopped) clear()
    stopped = true
  }
  return {
    show: (next) => {
      task = next
      draw()
    },
    end: (ended) => {
      stop()
      printEnd(terminal, ended)
    },
    stop,
  }
}

function printEnd(terminal: Terminal, task: Task): void {
  const mark = task.status === 'COMPLETED' ? paint(terminal, 'green', '✓') : paint(terminal, 'red', '✗')
  const what = `${task.operation} ${shortTarget(task.target)}`.trim()
  printLine(terminal, `${mark} ${paintStatus(terminal, task.status)}  ${what}  in ${duration(ageOf(task))}`)
  if (task.error !== null) printLine(terminal, `  ${task.error.detail} (${task.error.code})`)
  for (const [name, value] of Object.entries(task.result ?? {})) {
    printLine(terminal, `  ${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
  }
}
