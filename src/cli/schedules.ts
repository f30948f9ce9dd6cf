import { type Command, Option } from 'commander'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { parseInput } from './key-values.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'

interface CreateOptions extends ConnectionOptions {
  readonly cron: string
  readonly timeZone: string
  readonly startAt?: string
  readonly missed: 'skip' | 'run_once'
  readonly overlap: 'skip' | 'allow'
}

/** `sluice schedules list | create | pause | resume | run | delete` */
export function addSchedulesCommand(program: Command, terminal: Terminal): void {
  const schedules = program.command('schedules').description('changes that are asked for again and again')
  addConnectionOptions(schedules.command('list').description('by name')).action((options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      const items = await (await connect(options, terminal.env)).schedules({ signal })
      if (options.json === true) printJson(terminal, { items })
      else if (items.length === 0) printLine(terminal, 'No schedules.')
      else
        for (const one of items) {
          const next = one.paused ? 'paused' : `next ${one.next_run_at ?? 'never'}`
          printLine(
            terminal,
            `${one.schedule_id}  ${one.name}  ${one.operation}  ${one.cron} ${one.time_zone}  ${next}`,
          )
          if (one.last_outcome !== null) printLine(terminal, `  ${one.last_run_at ?? ''}  ${one.last_outcome}`)
        }
      return exitCodes.completed
    }),
  )
  addConnectionOptions(
    schedules
      .command('create <name> <operation> [input...]')
      .description('input as key=value, as with `sluice submit`')
      .requiredOption('--cron <expression>', 'minute, hour, day of month, month, day of week')
      .option('--time-zone <zone>', 'IANA name', 'UTC')
      .option('--start-at <time>', 'no firing before')
      .addOption(
        new Option('--missed <policy>', 'a firing that nobody was there for')
          .choices(['skip', 'run_once'])
          .default('skip'),
      )
      .addOption(
        new Option('--overlap <policy>', 'a firing beside the one before').choices(['skip', 'allow']).default('skip'),
      ),
  ).action((name: string, operation: string, input: string[], options: CreateOptions) =>
    runCommand(terminal, options, async (signal) => {
      const { cron, timeZone, startAt, missed, overlap } = options
      const made = await (
        await connect(options, terminal.env)
      ).createSchedule(
        {
          name,
          operation,
          input: parseInput(input),
          cron,
          time_zone: timeZone,
          missed,
          overlap,
          ...(startAt !== undefined && { start_at: startAt }),
        },
        { signal },
      )
      if (options.json === true) printJson(terminal, made)
      else printLine(terminal, `${made.schedule_id}  first ${made.next_run_at ?? 'never'}`)
      return exitCodes.completed
    }),
  )
  for (const verb of ['pause', 'resume', 'run', 'delete'] as const) {
    addConnectionOptions(schedules.command(`${verb} <schedule>`).description(descriptions[verb])).action(
      (id: string, options: ConnectionOptions) =>
        runCommand(terminal, options, async (signal) => {
          const client = await connect(options, terminal.env)
          if (verb === 'run') printJson(terminal, await client.runSchedule(id, { signal }))
          else if (verb === 'delete') await client.deleteSchedule(id, { signal })
          else {
            const one = await (verb === 'pause'
              ? client.pauseSchedule(id, { signal })
              : client.resumeSchedule(id, { signal }))
            if (options.json === true) printJson(terminal, one)
            else printLine(terminal, one.paused ? 'Paused.' : `Next ${one.next_run_at ?? 'never'}.`)
          }
          return exitCodes.completed
        }),
    )
  }
}

const descriptions = {
  pause: 'fire no more',
  resume: 'go on with the next time from now',
  run: 'ask for the change now, beside the schedule',
  delete: 'its tasks stay',
} as const
