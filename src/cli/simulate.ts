import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Argument, type Command, Option } from 'commander'
import { z } from 'zod'
import { connectCluster } from '../kubernetes/cluster.ts'
import { NotFoundError } from '../kubernetes/cluster-errors.ts'
import { createFaultScript } from '../kubernetes/simulated/fault-script.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { wholeNumber } from './submit.ts'
import { UsageError } from './usage-error.ts'

interface ClusterOptions {
  readonly data?: string
  readonly kubeconfig?: string
  readonly json?: boolean
}

/** What a fault is given; each command knows some of them, and the cluster refuses what makes no sense. */
interface FaultOptions extends ClusterOptions {
  readonly verb?: string
  readonly resource?: string
  readonly namespace?: string
  readonly name?: string
  readonly count?: number
  readonly forMs?: number
  readonly retryAfter?: number
  readonly ms?: number
  readonly downMs?: number
  readonly by?: number
  readonly kind?: string
  readonly reason?: string
  readonly everyMs?: number
}

type Scope = 'watches' | 'requests' | 'server'

interface FaultCommand {
  readonly name: string
  readonly fault: string
  readonly description: string
  readonly scope: Scope
  readonly option?: readonly [flags: string, description: string]
}

const faultCommands: readonly FaultCommand[] = [
  { name: 'cut', fault: 'cut', scope: 'watches', description: 'destroy the sockets of open watches' },
  {
    name: 'half-open',
    fault: 'halfOpen',
    scope: 'watches',
    description: 'open watches stay open and send nothing more',
  },
  {
    name: '410',
    fault: 'gone410',
    scope: 'watches',
    description: 'open watches end with 410, and older positions are gone',
  },
  {
    name: '429',
    fault: 'tooManyRequests',
    scope: 'requests',
    description: 'requests are refused with 429 and Retry-After',
    option: ['--retry-after <seconds>', 'what Retry-After says (default: 1)'],
  },
  { name: '500', fault: 'error500', scope: 'requests', description: 'requests are answered with 500' },
  {
    name: 'malformed-json',
    fault: 'malformedJson',
    scope: 'requests',
    description: 'answers, and the next line of open watches, break off in the middle',
  },
  {
    name: 'slow',
    fault: 'slow',
    scope: 'requests',
    description: 'answers wait, until it is cleared',
    option: ['--ms <ms>', 'for how long (default: 1000)'],
  },
  {
    name: 'restart',
    fault: 'restart',
    scope: 'server',
    description: 'every connection breaks and watch history is lost; objects stay',
    option: ['--down-ms <ms>', 'for how long nobody gets in (default: 0)'],
  },
  {
    name: 'future-resource-version',
    fault: 'futureResourceVersion',
    scope: 'server',
    description: 'as if an older backup had been restored: positions of clients lie in the future',
    option: ['--by <versions>', 'how far (default: 10000)'],
  },
]

const controllerModes = {
  fail: 'fail',
  stall: 'stall',
  flap: 'flap',
  'delete-and-recreate': 'deleteAndRecreate',
} as const

/** `sluice simulate <fault> | list | clear | script`: makes the simulated cluster of a data folder misbehave. */
export function addSimulateCommand(program: Command, terminal: Terminal): void {
  const simulate = program.command('simulate').description('make the simulated cluster misbehave, as real ones do')
  for (const command of faultCommands) addFaultCommand(simulate, terminal, command)
  addControllerCommand(simulate, terminal)
  addScriptCommand(simulate, terminal)

  addClusterOptions(simulate.command('list').description('what lasts at the moment')).action(
    (options: ClusterOptions) =>
      runCommand(terminal, options, async (signal) => {
        const { active } = activeSchema.parse(await ask(terminal, options, { method: 'GET', signal }))
        if (options.json === true) printJson(terminal, active)
        else if (active.length === 0) printLine(terminal, 'No fault is active.')
        else
          for (const { fault, detail } of active) printLine(terminal, `${fault}  ${describeMembers(detail)}`.trimEnd())
        return exitCodes.completed
      }),
  )

  addClusterOptions(simulate.command('clear').description('take back whatever lasts')).action(
    (options: ClusterOptions) =>
      runCommand(terminal, options, async (signal) => {
        await ask(terminal, options, { method: 'DELETE', signal })
        if (options.json === true) printJson(terminal, [])
        else printLine(terminal, 'No fault is active any more.')
        return exitCodes.completed
      }),
  )
}

function addFaultCommand(
  simulate: Command,
  terminal: Terminal,
  { name, fault, description, scope, option }: FaultCommand,
): void {
  const command = addClusterOptions(simulate.command(name).description(description))
  if (scope !== 'server') {
    command
      .option('--resource <plural>', 'only this resource, such as projects')
      .option('--namespace <namespace>', 'only in this namespace')
      .option('--name <name>', 'only this object')
  }
  if (scope === 'requests') {
    command
      .addOption(
        new Option('--verb <verb>', 'only these requests').choices([
          'get',
          'list',
          'watch',
          'create',
          'update',
          'patch',
          'delete',
        ]),
      )
      .option('--count <n>', 'how many requests', wholeNumber)
      .option('--for-ms <ms>', 'for how long', wholeNumber)
  }
  if (option) command.option(option[0], option[1], wholeNumber)
  command.action((options: FaultOptions) => inject(terminal, options, { fault, ...membersOf(options) }))
}

function addControllerCommand(simulate: Command, terminal: Terminal): void {
  const mode = new Argument('<mode>', 'how').choices(Object.keys(controllerModes))
  addClusterOptions(
    simulate.command('controller').addArgument(mode).description('controllers misbehave, until it is cleared'),
  )
    .option('--kind <kind>', 'only objects of this kind, such as Project')
    .option('--namespace <namespace>', 'only in this namespace')
    .option('--name <name>', 'only this object')
    .option('--reason <reason>', 'the reason that a failure gives')
    .option('--every-ms <ms>', 'between two turns of flap (default: 200)', wholeNumber)
    .action((given: keyof typeof controllerModes, options: FaultOptions) =>
      inject(terminal, options, { fault: 'controller', mode: controllerModes[given], ...membersOf(options) }),
    )
}

interface ScriptOptions extends FaultOptions {
  readonly steps?: number
  readonly durationMs?: number
}

function addScriptCommand(simulate: Command, terminal: Terminal): void {
  addClusterOptions(
    simulate
      .command('script')
      .argument('<seed>', 'a whole number', wholeNumber)
      .description('a random sequence of faults, the same for the same seed'),
  )
    .option('--steps <n>', 'how many (default: 10)', wholeNumber)
    .option('--duration-ms <ms>', 'spread over this time (default: 5000)', wholeNumber)
    .option('--resource <plural>', 'only this resource, such as projects')
    .action((seed: number, options: ScriptOptions) =>
      runCommand(terminal, options, async (signal) => {
        const { steps, durationMs, resource } = options
        const script = createFaultScript(seed, {
          ...(steps !== undefined && { steps }),
          ...(durationMs !== undefined && { durationMs }),
          ...(resource !== undefined && { resource }),
        })
        const begin = performance.now()
        for (const { atMs, fault } of script) {
          await delay(Math.max(0, begin + atMs - performance.now()), undefined, { signal })
          await ask(terminal, options, { method: 'POST', body: fault, signal, patient: true })
          if (options.json !== true) printLine(terminal, `${(atMs / 1000).toFixed(2)} s  ${describeMembers(fault)}`)
        }
        if (options.json === true) printJson(terminal, script)
        return exitCodes.completed
      }),
    )
}

function addClusterOptions(command: Command): Command {
  return command
    .option('--data <folder>', 'data folder of `sluice start` (SLUICE_DATA_DIR, default .sluice)')
    .option('--kubeconfig <file>', 'of a simulated cluster that runs elsewhere')
    .option('--json', 'print JSON on stdout and nothing else')
}

const memberNames = [
  ...(['verb', 'resource', 'namespace', 'name', 'count', 'forMs', 'retryAfter', 'ms', 'downMs', 'by'] as const),
  ...(['kind', 'reason', 'everyMs'] as const),
]

function membersOf(options: FaultOptions): Record<string, unknown> {
  return Object.fromEntries(memberNames.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])))
}

function inject(terminal: Terminal, options: ClusterOptions, body: Record<string, unknown>): Promise<void> {
  return runCommand(terminal, options, async (signal) => {
    const answer = injectedSchema.parse(await ask(terminal, options, { method: 'POST', body, signal }))
    if (options.json === true) printJson(terminal, answer)
    else if (answer.watches === undefined) printLine(terminal, `Simulated: ${describeMembers(body)}`)
    else printLine(terminal, `Simulated: ${describeMembers(body)}, on ${answer.watches} open watches`)
    return exitCodes.completed
  })
}

const activeSchema = z.object({
  active: z.array(z.object({ fault: z.string(), detail: z.record(z.string(), z.unknown()) })),
})
const injectedSchema = z.object({ watches: z.number().optional(), injected: z.string().optional() })

interface Request {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly body?: unknown
  readonly signal: AbortSignal
  /** Ask again for a while: it may be down, as it was told to be. */
  readonly patient?: boolean
}

async function ask(terminal: Terminal, options: ClusterOptions, { patient, ...request }: Request): Promise<unknown> {
  const dataDir = options.data ?? terminal.env['SLUICE_DATA_DIR'] ?? '.sluice'
  const path = options.kubeconfig ?? join(dataDir, 'simulated-cluster.kubeconfig')
  const kubeconfig = await readFile(path, 'utf8').catch(() => {
    throw new UsageError(
      `${path} is not there: is \`sluice start\` running with the simulated cluster? --data names its folder.`,
    )
  })
  const cluster = connectCluster({ name: 'simulated', kubeconfig })
  try {
    for (let tries = patient === true ? 20 : 0; ; tries--) {
      try {
        return (await cluster.request({ path: '/simulate/faults', ...request })).body
      } catch (error) {
        const passes = error instanceof Error && 'code' in error && error.code === 'unreachable'
        if (!passes || tries <= 0) throw error
        await delay(100, undefined, { signal: request.signal })
      }
    }
  } catch (error) {
    if (error instanceof NotFoundError) throw new UsageError(`The cluster of ${path} is not a simulated one.`)
    throw error
  } finally {
    await cluster.stop()
  }
}

function describeMembers(members: Readonly<Record<string, unknown>>): string {
  const { fault, ...rest } = members
  const told = Object.entries(rest).map(([name, value]) => `${name}=${String(value)}`)
  return [...(typeof fault === 'string' ? [fault] : []), ...told].join(' ')
}
