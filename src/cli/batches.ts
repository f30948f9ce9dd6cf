import { readFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { type Batch, bulkRequestSchema } from '../contract/batch.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { describeAction } from './many.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { wholeNumber } from './submit.ts'
import { UsageError } from './usage-error.ts'

interface SubmitOptions extends ConnectionOptions {
  readonly onError: 'continue' | 'stop'
  readonly concurrency?: number
}

/** `sluice batches submit | list | get | cancel | retry` */
export function addBatchesCommand(program: Command, terminal: Terminal): void {
  const batches = program.command('batches').description('many changes at once')
  addConnectionOptions(
    batches
      .command('submit <file>')
      .description('a JSON array of { operation, input }, up to 10,000: all are accepted, or none')
      .addOption(
        new Option('--on-error <policy>', 'stop: a failed item cancels the rest')
          .choices(['continue', 'stop'])
          .default('continue'),
      )
      .option('--concurrency <n>', 'items under way at once', wholeNumber),
  ).action((file: string, options: SubmitOptions) =>
    runCommand(terminal, options, async (signal) => {
      const batch = { items: await readItems(file), on_error: options.onError, concurrency: options.concurrency }
      show(terminal, options, [await (await connect(options, terminal.env)).submitBatch(batch, { signal })])
      return exitCodes.completed
    }),
  )
  addConnectionOptions(batches.command('list').description('newest first')).action((options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      show(terminal, options, await (await connect(options, terminal.env)).listBatches({ signal }))
      return exitCodes.completed
    }),
  )
  addConnectionOptions(batches.command('get <batch>').description('how far it is')).action(
    (id: string, options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        show(terminal, options, [await (await connect(options, terminal.env)).getBatch(id, { signal })])
        return exitCodes.completed
      }),
  )
  addConnectionOptions(batches.command('cancel <batch>').description('cancel what is left')).action(
    (id: string, options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const answer = await (await connect(options, terminal.env)).cancelBatch(id, { signal })
        return describeAction(terminal, answer, { json: options.json, verb: 'cancelled' })
      }),
  )
  addConnectionOptions(
    batches.command('retry <batch>').description('try the failed items again, as a new batch'),
  ).action((id: string, options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      show(terminal, options, [await (await connect(options, terminal.env)).retryBatch(id, { signal })])
      return exitCodes.completed
    }),
  )
}

async function readItems(file: string) {
  const text = await readFile(file, 'utf8')
  try {
    return bulkRequestSchema.shape.items.parse(JSON.parse(text))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new UsageError(`${file} is not a JSON array of { operation, input }: ${why}`)
  }
}

function show(terminal: Terminal, options: ConnectionOptions, batches: readonly Batch[]): void {
  if (options.json === true) {
    printJson(terminal, batches.length === 1 ? batches[0] : { items: batches })
    return
  }
  for (const { batch_id, status, total, counts } of batches) {
    const some = Object.entries(counts).filter(([, n]) => n > 0)
    printLine(terminal, `${batch_id}  ${status}  ${total}: ${some.map(([name, n]) => `${name} ${n}`).join(', ')}`)
  }
  if (batches.length === 0) printLine(terminal, 'No batches.')
}
