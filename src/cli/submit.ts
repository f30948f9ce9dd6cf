import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { InvalidArgumentError, type Command } from 'commander'
import { taskOptionsSchema, type Accepted, type TaskOptions } from '../contract/task.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { followTask } from './follow-task.ts'
import { isObject, parseInput, parseLabels, type JsonObject } from './key-values.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { UsageError } from './usage-error.ts'
import { paintStatus } from './task-text.ts'

interface SubmitCommandOptions extends ConnectionOptions {
  readonly input: readonly string[]
  readonly inputFile?: string
  readonly wait?: boolean
  readonly timeoutMs?: number
  readonly startAt?: string
  readonly priority?: number
  readonly confirmName?: string
  readonly idempotencyKey?: string
  readonly label: readonly string[]
}

/** `sluice submit <operation> name=acme … [--wait]` */
export function addSubmitCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('submit <operation> [input...]')
    .description('ask for a change; it becomes a task. Input as key=value, nested.key=value, or key:=json')
    .option('--input <pair...>', 'the same', collect, [])
    .option('--input-file <file>', 'JSON object to start from; - reads stdin')
    .option('--wait', 'follow the task to its end; the exit code is its outcome')
    .option('--timeout-ms <ms>', 'milliseconds from first start until it is TIMED_OUT', wholeNumber)
    .option('--start-at <time>', 'not before this time (RFC 3339)')
    .option('--priority <n>', '-100 to 100; higher runs first', wholeNumber)
    .option('--confirm-name <name>', 'the name once more, where a policy asks for it')
    .option('--idempotency-key <key>', 'under one key a change is accepted once')
    .option('--label <pair...>', 'key=value', collect, [])
  addConnectionOptions(command).action((operation: string, pairs: string[], options: SubmitCommandOptions) =>
    runCommand(terminal, options, (signal) =>
      submit(terminal, operation, { ...options, input: [...pairs, ...options.input], signal }),
    ),
  )
}

async function submit(
  terminal: Terminal,
  operation: string,
  options: SubmitCommandOptions & { readonly signal: AbortSignal },
): Promise<number> {
  const { signal, json } = options
  const input = parseInput(options.input, await readInputFile(options.inputFile))
  const task = readTaskOptions(options)
  const client = await connect(options, terminal.env)
  const accepted = await client.submit(operation, input, { task, idempotencyKey: options.idempotencyKey, signal })
  if (options.wait !== true && json === true) printJson(terminal, accepted)
  if (json !== true) printAccepted(terminal, accepted)
  if (options.wait !== true) return exitCodes.completed
  return followTask(terminal, client, { taskId: accepted.task_id, signal, json })
}

function printAccepted(terminal: Terminal, accepted: Accepted): void {
  const word = accepted.deduplicated === true ? 'Joined' : 'Accepted'
  printLine(terminal, `${word}  ${accepted.task_id}  ${paintStatus(terminal, accepted.status)}`)
}

async function readInputFile(file: string | undefined): Promise<JsonObject> {
  if (file === undefined) return {}
  const content = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8')).catch((error: Error) => {
    throw new UsageError(`--input-file cannot be read: ${error.message}`)
  })
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (isObject(value)) return value
  throw new UsageError(`${file} does not hold a JSON object.`)
}

function readTaskOptions(options: SubmitCommandOptions): TaskOptions | undefined {
  const labels = parseLabels(options.label)
  const given = {
    timeout_ms: options.timeoutMs,
    start_at: options.startAt,
    priority: options.priority,
    confirm_name: options.confirmName,
    labels: Object.keys(labels).length === 0 ? undefined : labels,
  }
  if (Object.values(given).every((value) => value === undefined)) return undefined
  const parsed = taskOptionsSchema.safeParse(given)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new UsageError(`--${String(issue?.path[0]).replaceAll('_', '-')}: ${issue?.message}`)
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value]
}

export function wholeNumber(value: string): number {
  if (!/^-?\d{1,15}$/.test(value)) throw new InvalidArgumentError('Not a whole number.')
  return Number(value)
}
