import { z } from 'zod'
import { createDatabase, type Database } from '../../src/database/database.ts'
import {
  createSignalListener,
  createSignalSender,
  type SignalListener,
  type SignalSender,
} from '../../src/database/signals.ts'
import { completed, defineOperation, type Operation } from '../../src/operations/define-operation.ts'
import { createPgBossQueue } from '../../src/queue/pg-boss-queue.ts'
import type { Queue } from '../../src/queue/queue.ts'
import { createTaskAcceptor, type TaskAcceptor } from '../../src/tasks/accept-task.ts'
import { createTestDatabase } from './test-database.ts'

/** The parts that accept a task, on a database of their own, without HTTP and without a worker. */
export interface Core {
  readonly url: string
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly listener: SignalListener
  readonly acceptor: TaskAcceptor
  stop(): Promise<void>
}

const fail = (error: Error): never => {
  throw error
}

export async function startCore(options: { readonly url?: string; readonly supervise?: boolean } = {}): Promise<Core> {
  const url = options.url ?? (await createTestDatabase()).url
  const database = createDatabase({ url, poolMax: 10, poolMin: 0, onConnectionError: () => undefined })
  const queue = createPgBossQueue({ database, supervise: options.supervise ?? false, onError: () => undefined })
  await queue.start()
  const signals = createSignalSender(database.pool, fail)
  const listener = createSignalListener({ url, onError: () => undefined })
  await listener.start()
  return {
    url,
    database,
    queue,
    signals,
    listener,
    acceptor: createTaskAcceptor({ database, queue, signals }),
    stop: async () => {
      await listener.stop()
      await signals.stop()
      await queue.stop()
      await database.stop()
    },
  }
}

/** An operation that does nothing, keyed and targeted by its name. */
export const noop: Operation = defineOperation({
  type: 'test.noop',
  title: 'Nothing',
  input: z.strictObject({ name: z.string(), size: z.number().optional() }),
  class: 'short',
  uniqueKey: ({ name }) => name,
  target: ({ name }) => `default:test/Thing//${name}`,
  perform: async ({ attempt }) => completed({ attempt }),
})
