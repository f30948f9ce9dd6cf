import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { until } from '../../test/helpers/until.ts'
import { accept, reached, readTask, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { startDatabaseProxy } from '../../test/faults/database-proxy.ts'
import { createSignalSender } from '../database/signals.ts'
import { completed } from '../operations/define-operation.ts'

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

test('the last report is not lost where the database goes away between it and the outcome', async () => {
  const proxy = await startDatabaseProxy(core.url)
  const behind = await startCore({ url: proxy.url })
  let report: ((done: number) => void) | undefined
  let end: (() => void) | undefined
  const operation = testOperation({
    perform: async (context) => {
      report = (done) => context.report({ done, total: 3 })
      await new Promise<void>((resolve) => (end = resolve))
      return completed({})
    },
  })
  // A signal that is lost costs latency only.
  const signals = createSignalSender(behind.database.pool, () => undefined)
  const worker = await startWorker(behind, [operation], { signals })
  const taskId = await accept(core, operation)
  await until(() => report !== undefined)
  report?.(1)
  await until(async () => (await readTask(core, taskId)).progress?.done === 1)
  proxy.cut()
  report?.(2)
  report?.(3)
  end?.()
  // It has tried, and tries again.
  await until(() => worker.logger.lines.some(({ message }) => message === 'progress could not be written'))
  proxy.letThrough()
  expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED', progress: { done: 3, total: 3 } })
  await worker.stop(0)
  await signals.stop()
  await behind.stop()
  await proxy.stop()
})
