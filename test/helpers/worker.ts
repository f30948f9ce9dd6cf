import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { vi } from 'vitest'
import { z } from 'zod'
import { isTerminal, type TaskStatus } from '../../src/contract/task-status.ts'
import { createWatchHub } from '../../src/kubernetes/watch-hub.ts'
import {
  defineOperation,
  type Operation,
  type Performed,
  type PerformContext,
  type RetryOptions,
} from '../../src/operations/define-operation.ts'
import { createOperationRegistry } from '../../src/operations/registry.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import type { TaskRow } from '../../src/tasks/task-view.ts'
import { createWorker, type WorkerOptions } from '../../src/worker/worker.ts'
import type { Core } from './core.ts'

const noCluster = (): never => {
  throw new Error('this test has no cluster')
}

export interface TestOperation {
  readonly type?: string
  readonly class?: 'short' | 'long'
  readonly retry?: RetryOptions
  readonly timeoutMs?: number
  readonly cluster?: string
  perform(context: PerformContext, input: { name: string }): Promise<Performed>
}

/** An operation whose `perform` is the test's. */
export function testOperation(options: TestOperation): Operation {
  const { cluster } = options
  return defineOperation({
    type: options.type ?? `test.op-${randomUUID().slice(0, 8)}`,
    title: 'A test',
    input: z.strictObject({ name: z.string() }),
    class: options.class ?? 'long',
    ...(options.retry && { retry: options.retry }),
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
    ...(cluster !== undefined && { cluster: () => cluster }),
    perform: (context, input) => options.perform(context, input),
  })
}

/** A worker in this process, on the core's database. */
export async function startWorker(core: Core, operations: readonly Operation[], options: Partial<WorkerOptions> = {}) {
  const logger = createMemoryLogger()
  const worker = createWorker({
    ...core,
    operations: createOperationRegistry(operations),
    hub: createWatchHub({ cluster: noCluster }),
    logger,
    workerId: `test/${randomUUID().slice(0, 8)}`,
    cluster: noCluster,
    clusterKey: (_tenant, name) => name,
    diagnose: async () => undefined,
    ...options,
  })
  await worker.start()
  return { stop: (drainMs?: number) => worker.stop(drainMs), logger }
}

export async function accept(
  core: Core,
  operation: Operation,
  options: Partial<Parameters<Core['acceptor']['accept']>[0]> = {},
) {
  const accepted = await core.acceptor.accept({
    operation,
    input: { name: randomUUID() },
    options: {},
    tenant: 'default',
    actor: 'requester',
    ...options,
  })
  return accepted.taskId
}

export async function readTask(core: Core, taskId: string): Promise<TaskRow> {
  const { rows } = await core.database.pool.query<TaskRow>('select * from sluice.tasks where task_id = $1', [taskId])
  const [task] = rows
  if (!task) throw new Error(`no task ${taskId}`)
  return task
}

/** The task once it is in one of these statuses; in a terminal one by default. */
export async function reached(
  core: Core,
  taskId: string,
  { statuses, timeoutMs = 20_000 }: { statuses?: readonly TaskStatus[]; timeoutMs?: number } = {},
): Promise<TaskRow> {
  let task = await readTask(core, taskId)
  await vi
    .waitUntil(
      async () => {
        task = await readTask(core, taskId)
        return statuses ? statuses.includes(task.status) : isTerminal(task.status)
      },
      { interval: 10, timeout: timeoutMs },
    )
    .catch(() => {
      throw new Error(`task is ${task.status} (attempt ${task.attempt}), not ${statuses?.join(' or ') ?? 'ended'}`)
    })
  return task
}

export async function eventTypesOf(core: Core, taskId: string): Promise<string[]> {
  const { rows } = await core.database.pool.query<{ type: string }>(
    'select type from sluice.domain_events where task_id = $1 order by seq',
    [taskId],
  )
  return rows.map(({ type }) => type.replace('task.', ''))
}

/** What the worker process offers; its input says what `perform` does. */
export const scripted = (type: 'script.long' | 'script.short' = 'script.long'): Operation =>
  defineOperation({
    type,
    title: 'Scripted',
    input: z.strictObject({ name: z.string(), script: z.string() }),
    class: type === 'script.long' ? 'long' : 'short',
    retry: { backoff: { initialMs: 0 } },
    perform: async () => {
      throw new Error('runs in the worker process')
    },
  })

export interface WorkerProcess {
  readonly child: ChildProcess
  kill(signal: NodeJS.Signals): void
  /** Resolves when the process has printed the line. */
  line(text: string, timeoutMs?: number): Promise<void>
  /** SIGKILL, if it still lives, and waits for its end. */
  stop(): Promise<void>
}

const program = fileURLToPath(new URL('worker-process.ts', import.meta.url))
const shiftClock = fileURLToPath(new URL('shift-clock.ts', import.meta.url))

/** A worker in a process of its own, that a test may pause and kill; with CLOCK_SHIFT_MS, one whose wall clock is wrong. */
export async function startWorkerProcess(
  core: Core,
  env: Readonly<Record<string, string>> = {},
): Promise<WorkerProcess> {
  const child = spawn(process.execPath, [...('CLOCK_SHIFT_MS' in env ? ['--import', shiftClock] : []), program], {
    env: { ...process.env, DATABASE_URL: core.url, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let printed = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    printed += chunk.toString()
  })
  const exited = once(child, 'exit')
  const worker: WorkerProcess = {
    child,
    kill: (signal) => void child.kill(signal),
    line: async (text, timeoutMs = 30_000) => {
      await vi
        .waitUntil(() => printed.includes(`${text}\n`), { interval: 10, timeout: timeoutMs })
        .catch(() => {
          throw new Error(`the worker process did not print ${text}, but: ${printed}`)
        })
    },
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exited
    },
  }
  // Late where many start at once. One that never was ready must not live on, since nobody would stop it.
  await worker.line('ready', 120_000).catch(async (error: unknown) => {
    await worker.stop()
    throw error
  })
  return worker
}
