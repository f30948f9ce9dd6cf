import { type Command, Option } from 'commander'
import type { Limit } from '../contract/queue.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { wholeNumber } from './submit.ts'

interface ReachOptions extends ConnectionOptions {
  readonly platform?: boolean
}

interface LimitOptions extends ReachOptions {
  readonly maxRunning?: number
  readonly perMinute?: number
  readonly burst?: number
  readonly remove?: boolean
}

/** `sluice queues list | pause | resume | limit`, `sluice workers` */
export function addQueuesCommand(program: Command, terminal: Terminal): void {
  const queues = program.command('queues').description('what waits and runs; pause, resume and limit it')
  addConnectionOptions(queues.command('list').description('per operation')).action((options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      const found = await (await connect(options, terminal.env)).queues({ signal })
      if (options.json === true) printJson(terminal, found)
      else {
        for (const queue of found.items) {
          const { pending, running, waiting, retrying, scheduled, held } = queue
          const counts = { pending, running, waiting, retrying, scheduled, held }
          const shown = Object.entries(counts).map(([name, n]) => `${name} ${n}`)
          printLine(terminal, `${queue.operation}  ${shown.join('  ')}${queue.paused ? '  PAUSED' : ''}`)
        }
        for (const pause of found.pauses)
          printLine(
            terminal,
            `${pause.operation ?? 'everything'} paused${pause.platform ? ' for every tenant' : ''} by ${pause.paused_by}${pause.reason ? `: ${pause.reason}` : ''}`,
          )
        for (const limit of found.limits) printLine(terminal, limitText(limit))
        if (found.items.length === 0) printLine(terminal, 'Nothing waits and nothing runs.')
      }
      return exitCodes.completed
    }),
  )
  addConnectionOptions(
    queues
      .command('pause [operation]')
      .description('start nothing more of this operation (of any, without one); what runs goes on')
      .option('--platform', everyTenant)
      .option('--reason <text>', 'shown to everybody who waits'),
  ).action((operation: string | undefined, options: ReachOptions & { readonly reason?: string }) =>
    runCommand(terminal, options, async (signal) => {
      const pause = {
        ...(operation !== undefined && { operation }),
        ...(options.reason !== undefined && { reason: options.reason }),
      }
      const { platform } = options
      const found = await (await connect(options, terminal.env)).pauseQueue(pause, { platform, signal })
      if (options.json === true) printJson(terminal, found)
      else printLine(terminal, `${operation ?? 'Everything'} is paused.`)
      return exitCodes.completed
    }),
  )
  addConnectionOptions(
    queues
      .command('resume [operation]')
      .description('let it start again')
      .option('--platform', 'what is paused for every tenant'),
  ).action((operation: string | undefined, options: ReachOptions) =>
    runCommand(terminal, options, async (signal) => {
      const { platform } = options
      const found = await (await connect(options, terminal.env)).resumeQueue(operation, { platform, signal })
      if (options.json === true) printJson(terminal, found)
      else printLine(terminal, `${operation ?? 'Everything'} goes on.`)
      return exitCodes.completed
    }),
  )
  addLimitCommand(queues, terminal)
  addWorkersCommand(program, terminal)
}

const everyTenant = 'in every tenant, for the operators of the platform; without it, only in yours'

function addLimitCommand(queues: Command, terminal: Terminal): void {
  addConnectionOptions(
    queues
      .command('limit <scope> <key>')
      .description('how many attempts run at once and start per minute, in a tenant, a cluster or an operation')
      .option('--platform', everyTenant)
      .option('--max-running <n>', 'attempts at once', wholeNumber)
      .option('--per-minute <n>', 'starts per minute', wholeNumber)
      .option('--burst <n>', 'starts at once after a quiet time', wholeNumber)
      .addOption(new Option('--remove', 'take the limit away').conflicts(['maxRunning', 'perMinute', 'burst'])),
  ).action((scope: Limit['scope'], key: string, options: LimitOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      if (options.remove === true) {
        await client.removeLimit(scope, key, { platform: options.platform, signal })
        if (options.json !== true) printLine(terminal, `The ${scope} ${key} has no limit any more.`)
        return exitCodes.completed
      }
      const { maxRunning, perMinute, burst } = options
      const limit = await client.setLimit(scope, key, {
        max_running: maxRunning ?? null,
        per_minute: perMinute ?? null,
        ...(burst !== undefined && { burst }),
        platform: options.platform,
        signal,
      })
      if (options.json === true) printJson(terminal, limit)
      else printLine(terminal, limitText(limit))
      return exitCodes.completed
    }),
  )
}

function addWorkersCommand(program: Command, terminal: Terminal): void {
  addConnectionOptions(
    program.command('workers').description('the processes that are up, and those that were lost'),
  ).action((options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      const workers = await (await connect(options, terminal.env)).workers({ signal })
      if (options.json === true) printJson(terminal, { items: workers })
      else {
        if (!workers.some(({ role, alive }) => alive && role !== 'api'))
          printLine(terminal, 'No worker is alive: queued tasks wait until one is.')
        for (const { worker_id, role, version, running, slots, alive, heartbeat_at } of workers)
          printLine(
            terminal,
            `${worker_id}  ${role}  ${version}  ${running}/${slots}  ${alive ? 'alive' : 'LOST'}  ${heartbeat_at}`,
          )
      }
      return exitCodes.completed
    }),
  )
}

function limitText({ platform, scope, key, max_running, per_minute, burst }: Limit): string {
  const parts = [
    ...(max_running === null ? [] : [`${max_running} at once`]),
    ...(per_minute === null ? [] : [`${per_minute} per minute (burst ${burst})`]),
  ]
  return `limit of ${scope} ${key}${platform ? ', set by the platform' : ''}: ${parts.join(', ')}`
}
