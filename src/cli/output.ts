import { styleText } from 'node:util'
import type { Problem } from '../contract/problem.ts'
import { fieldErrors, SluiceProblem, UnreachableError } from '../client/index.ts'

/** Where a command writes; a test passes its own. */
export interface Terminal {
  readonly stdout: TextOutput
  readonly stderr: TextOutput
  readonly env: Readonly<Record<string, string | undefined>>
  readonly setExitCode: (code: number) => void
  /** Aborts on Ctrl-C from now on; `release` gives Ctrl-C back to the process. */
  readonly onInterrupt: () => { readonly signal: AbortSignal; readonly release: () => void }
}

export interface TextOutput {
  readonly isTTY: boolean
  /** Characters on a line of the terminal. */
  readonly columns: number
  write(text: string): void
  /** Resolves when the reader has taken what was written: for what is longer than memory. */
  drained?(): Promise<void>
}

/** Completed · the task or the request failed · the command line, or the input in it, is wrong · nobody answers · Ctrl-C. */
export const exitCodes = { completed: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const

/** Ctrl-C; the message says what goes on without us. */
export class InterruptedError extends Error {
  readonly code = 'interrupted'
  override readonly name = 'InterruptedError'
}

export type Style = Parameters<typeof styleText>[0]

/** Colours only where a person looks: on a terminal, and not under NO_COLOR. */
export function paint(terminal: Terminal, style: Style, text: string): string {
  const plain = !terminal.stdout.isTTY || (terminal.env['NO_COLOR'] ?? '') !== ''
  return plain ? text : styleText(style, text, { validateStream: false })
}

export function printLine(terminal: Terminal, text: string): void {
  terminal.stdout.write(`${text}\n`)
}

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.stdout.write(`${JSON.stringify(value)}\n`)
}

/** Runs a command's work and turns whatever comes of it into output and the exit code. */
export async function runCommand(
  terminal: Terminal,
  options: { readonly json?: boolean | undefined },
  work: (signal: AbortSignal) => Promise<number>,
): Promise<void> {
  const interrupt = terminal.onInterrupt()
  try {
    terminal.setExitCode(await work(interrupt.signal))
  } catch (error) {
    terminal.setExitCode(exitCodeOf(error))
    // A reader of JSON gets the refusal as a document, too; a person gets sentences.
    if (options.json === true && error instanceof SluiceProblem) printJson(terminal, error.problem)
    else if (options.json === true && error instanceof UnreachableError) printJson(terminal, unreachable(error))
    else terminal.stderr.write(`${describeError(error)}\n`)
  } finally {
    interrupt.release()
  }
}

const codes: Readonly<Record<string, number>> = {
  usage: exitCodes.usage,
  unreachable: exitCodes.unreachable,
  interrupted: exitCodes.interrupted,
}

/** By the `code` that each of our errors carries; whatever else goes wrong is a failure. */
function exitCodeOf(error: unknown): number {
  if (error instanceof SluiceProblem && isWrongAsWritten(error.problem)) return exitCodes.usage
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return (typeof code === 'string' ? codes[code] : undefined) ?? exitCodes.failed
}

/** Nothing was written, and asking the same again would be refused again. */
const isWrongAsWritten = ({ status }: Problem): boolean => status === 400 || status === 422

function describeError(error: unknown): string {
  if (error instanceof SluiceProblem) return describeProblem(error.problem)
  if (error instanceof UnreachableError)
    return `${error.message}\nIs it running? \`sluice start\` starts one here; --url or SLUICE_URL names another.`
  return error instanceof Error ? error.message : String(error)
}

/** A problem document as a person reads it: what, then field by field, then where else to look. */
export function describeProblem(problem: Problem): string {
  const lines = [`${problem.detail} (${problem.status} ${problem.code})`]
  const fields = fieldErrors(problem)
  const width = Math.max(0, ...fields.map(({ field }) => field.length))
  for (const { field, message } of fields) lines.push(`  ${field.padEnd(width)}  ${message}`)
  const typed = fields.find(({ message }) => /expected string, received (number|boolean)/.test(message))
  if (typed !== undefined) lines.push(`Text that looks like a number is written ${typed.field}:='"…"'`)
  if (problem.task !== undefined)
    lines.push(`In the way: ${problem.task.replace('/api/v1/tasks/', 'sluice tasks get ')}`)
  if (problem.status === 401)
    lines.push('Pass --token or SLUICE_TOKEN, or run this where `sluice start` keeps its data (--data).')
  if (problem.trace_id !== undefined) lines.push(`Trace ${problem.trace_id}`)
  return lines.join('\n')
}

function unreachable(error: UnreachableError) {
  return {
    type: 'about:blank',
    title: 'Unreachable',
    status: 0,
    code: error.code,
    detail: error.message,
    retryable: true,
  }
}
