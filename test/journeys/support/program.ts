import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { root } from './build.ts'

/** A process of Node that a test has started. */
export interface Program {
  readonly pid: number
  /** What it has printed so far. */
  output(): string
  complaints(): string
  /** Ctrl-C. @returns the exit code */
  stop(): Promise<number>
  /** SIGKILL, to this one process. */
  kill(): Promise<void>
}

export interface ProgramOptions {
  /** Script and arguments. */
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What it prints when it is ready. */
  readonly ready: RegExp
}

const running = new Set<Program>()
const folders = new Set<string>()

// Registered on import, so that it runs after the file's own hooks: what they, or a test that failed, have left.
afterAll(async () => {
  await Promise.all([...running].map((program) => program.stop()))
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

/** A folder for what programs keep, removed when they have stopped at the end of the test file. */
export async function makeDataDir(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-journey-'))
  folders.add(folder)
  return folder
}

/** What starting a program, with a build before it, may take on a busy machine: for hooks and tests that do so. */
export const startDeadlineMs = 120_000

/** Starts a script, and resolves when it says that it is ready. It is stopped at the end of the test file. */
export async function startProgram({ args, env, ready }: ProgramOptions): Promise<Program> {
  const child = spawn(process.execPath, args, {
    cwd: root,
    // The channel ends the child should this process be killed.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...withoutSettings(process.env), ...env },
  })
  const [output, complaints] = [collect(child, 'stdout'), collect(child, 'stderr')]
  const exited = once(child, 'close').then(([code]) => Number(code ?? -1))
  await untilReady(child, { ready, output, complaints })
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    return exited
  }
  const program: Program = {
    pid: child.pid ?? 0,
    output,
    complaints,
    stop: () => end('SIGINT'),
    kill: async () => void (await end('SIGKILL')),
  }
  running.add(program)
  void exited.then(() => running.delete(program))
  return program
}

function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const foreign = /^(SLUICE_|DATABASE_URL$|KUBECONFIG$|NODE_OPTIONS$|VITEST)/
  return Object.fromEntries(Object.entries(env).filter(([name]) => !foreign.test(name)))
}

function collect(child: ChildProcess, stream: 'stdout' | 'stderr'): () => string {
  let text = ''
  child[stream]?.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  return () => text
}

interface Readiness {
  readonly ready: RegExp
  readonly output: () => string
  readonly complaints: () => string
}

/** Whatever happens instead is told, with all that was printed. */
async function untilReady(child: ChildProcess, { ready, output, complaints }: Readiness): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = () => {
    if (ready.test(output())) resolve()
  }
  const fail = (what: string) => reject(new Error(`${child.spawnargs.join(' ')} ${what}:\n${output()}${complaints()}`))
  const timer = setTimeout(() => fail(`was not ready after ${startDeadlineMs / 1000} s`), startDeadlineMs)
  const onEnd = () => fail('ended')
  child.stdout?.on('data', look)
  child.once('close', onEnd)
  try {
    await promise
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(timer)
    child.stdout?.off('data', look)
    child.off('close', onEnd)
  }
}
