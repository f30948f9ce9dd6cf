import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Command, Option } from 'commander'
import { z } from 'zod'
import { type AuditEntry, type AuditFilter, type AuditHead, auditHeadSchema } from '../contract/audit.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { useDatabase } from './migrate.ts'
import { exitCodes, paint, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { wholeNumber } from './submit.ts'
import { UsageError } from './usage-error.ts'

interface FilterOptions extends ConnectionOptions {
  readonly actor?: string
  readonly type?: string
  readonly taskId?: string
  readonly address?: string
  readonly tokenId?: string
  readonly since?: string
  readonly until?: string
}

interface ListOptions extends FilterOptions {
  readonly pageSize?: number
  readonly pageToken?: string
}

interface ExportOptions extends FilterOptions {
  readonly format: 'json' | 'csv'
  readonly output?: string
}

interface ChainOptions extends ConnectionOptions {
  readonly databaseUrl?: string
}

interface VerifyOptions extends ChainOptions {
  readonly head?: string
}

/** `sluice audit list | export | head | verify` */
export function addAuditCommand(program: Command, terminal: Terminal): void {
  const audit = program.command('audit').description('the log as the audit: read, export and verify it')
  addFilters(audit.command('list').description('newest first'))
    .option('--page-size <n>', 'entries, at most 200 (default: 50)', wholeNumber)
    .option('--page-token <token>', 'go on where the last page ended')
    .action((options: ListOptions) => runCommand(terminal, options, (signal) => list(terminal, options, signal)))

  addFilters(audit.command('export').description('all of it, oldest first, as JSON or CSV'))
    .addOption(new Option('--format <format>', 'json or csv').choices(['json', 'csv']).default('json'))
    .option('--output <file>', 'write it there instead of stdout')
    .action((options: ExportOptions) =>
      runCommand(terminal, options, async (signal) => {
        const client = await connect(options, terminal.env)
        const stream = await client.exportAudit(options.format, toFilter(options), { signal })
        await write(terminal, options.output, stream)
        return exitCodes.completed
      }),
    )

  addChainOptions(
    audit.command('head').description('the end of the chain: keep it where the database cannot be written'),
  ).action((options: ChainOptions) =>
    runCommand(terminal, options, async (signal) => {
      const heads = await readHeads(terminal, options, signal)
      if (options.json === true) printJson(terminal, options.databaseUrl === undefined ? heads[0] : heads)
      else for (const { tenant, position, hash } of heads) printLine(terminal, `${tenant}  ${position}  ${hash}`)
      return exitCodes.completed
    }),
  )

  addChainOptions(
    audit
      .command('verify')
      .description('compare the log with its seals; exit code 1 when something was changed, removed or inserted'),
  )
    .option(
      '--head <file>',
      'what `sluice audit head --json` printed before: without it a chain cut off whole is not found',
    )
    .action((options: VerifyOptions) => runCommand(terminal, options, (signal) => verify(terminal, options, signal)))
}

function addFilters(command: Command): Command {
  return addConnectionOptions(command)
    .option('--actor <name>', 'who did it')
    .option('--type <type>', 'such as task.requested; ticket.* for all that begin so')
    .option('--task-id <id>', 'about this task')
    .option('--address <address>', 'from this address')
    .option('--token-id <id>', 'with this token')
    .option('--since <time>', 'as 2026-01-31T00:00:00Z')
    .option('--until <time>', 'exclusive')
}

function addChainOptions(command: Command): Command {
  return addConnectionOptions(command).option(
    '--database-url <url>',
    'read all tenants from the database itself, not what a server says of one',
  )
}

function toFilter({ actor, type, taskId, address, tokenId, since, until }: FilterOptions): AuditFilter {
  return { actor, type, task_id: taskId, address, token_id: tokenId, since, until }
}

async function list(terminal: Terminal, options: ListOptions, signal: AbortSignal): Promise<number> {
  const client = await connect(options, terminal.env)
  const { pageSize, pageToken } = options
  const page = await client.listAudit(toFilter(options), { pageSize, pageToken, signal })
  if (options.json === true) printJson(terminal, page)
  else {
    for (const entry of page.items) printLine(terminal, summary(entry))
    if (page.items.length === 0 && page.next_page_token === null) printLine(terminal, 'Nothing.')
    if (page.next_page_token !== null) printLine(terminal, `More: the same with --page-token ${page.next_page_token}`)
  }
  return exitCodes.completed
}

function summary({ at, type, actor, source, reason, task_id: taskId, target }: AuditEntry): string {
  const from = source?.address === undefined || source.address === null ? [] : [`from ${source.address}`]
  return [at, type, actor, ...from, taskId ?? '', target ?? '', reason === null ? '' : `“${reason}”`]
    .filter((part) => part !== '')
    .join('  ')
}

async function write(terminal: Terminal, file: string | undefined, stream: ReadableStream<Uint8Array>): Promise<void> {
  if (file !== undefined) {
    // Readable to nobody else: it says who came from where.
    await pipeline(Readable.from(stream), createWriteStream(file, { mode: 0o600 }))
    return
  }
  const text = new TextDecoder()
  for await (const piece of stream) {
    terminal.stdout.write(text.decode(piece, { stream: true }))
    await terminal.stdout.drained?.()
  }
}

async function readHeads(terminal: Terminal, options: ChainOptions, signal: AbortSignal): Promise<AuditHead[]> {
  if (options.databaseUrl === undefined) return [await (await connect(options, terminal.env)).auditHead({ signal })]
  return useAudit(options.databaseUrl, ({ database, readAllHeads }) => readAllHeads(database))
}

interface Outcome {
  readonly events: number
  readonly findings: readonly { readonly tenant: string; readonly kind: string; readonly detail: string }[]
  readonly chains: readonly { readonly tenant: string; readonly position: number; readonly hash: string }[]
  readonly unsealed: number
  readonly oldest_unsealed_at: string | null
}

async function verify(terminal: Terminal, options: VerifyOptions, signal: AbortSignal): Promise<number> {
  const heads = options.head === undefined ? [] : await readHeadFile(options.head)
  const outcome =
    options.databaseUrl === undefined
      ? await verifyByServer(terminal, options, { heads, signal })
      : await verifyDatabase(options.databaseUrl, heads)
  const intact = outcome.findings.length === 0
  if (options.json === true) printJson(terminal, { valid: intact, ...outcome })
  else {
    for (const { tenant, kind, detail } of outcome.findings)
      printLine(terminal, `${paint(terminal, 'red', kind)}  ${tenant}: ${detail}`)
    const unsealed =
      outcome.unsealed === 0
        ? ''
        : ` ${outcome.unsealed} are not sealed yet, the oldest of ${outcome.oldest_unsealed_at}.`
    const against = heads.length === 0 ? ' No head was given: see `sluice audit head`.' : ''
    printLine(
      terminal,
      intact
        ? `${outcome.events} events are as they were sealed.${unsealed}${against}`
        : `${outcome.findings.length} findings in ${outcome.events} events.${unsealed}`,
    )
  }
  return intact ? exitCodes.completed : exitCodes.failed
}

async function verifyByServer(
  terminal: Terminal,
  options: ConnectionOptions,
  { heads, signal }: { readonly heads: readonly AuditHead[]; readonly signal: AbortSignal },
): Promise<Outcome> {
  const client = await connect(options, terminal.env)
  const { tenant } = await client.me({ signal })
  const head = heads.find((one) => one.tenant === tenant)
  if (heads.length > 0 && !head) throw new UsageError(`The file has no head of the tenant ${tenant}.`)
  const { events, findings, position, hash, unsealed, oldestUnsealedAt } = await client.verifyAudit({ head, signal })
  return { events, findings, chains: [{ tenant, position, hash }], unsealed, oldest_unsealed_at: oldestUnsealedAt }
}

function verifyDatabase(url: string, heads: readonly AuditHead[]): Promise<Outcome> {
  return useAudit(url, async ({ database, verifyAudit }) => {
    const kept = Map.groupBy(heads, ({ tenant }) => tenant)
    const { events, findings, places, tail } = await verifyAudit({ database, heads: kept })
    const chains = [...places].map(([tenant, place]) => ({ tenant, ...place }))
    return { events, findings, chains, unsealed: tail.events, oldest_unsealed_at: tail.oldest?.toISOString() ?? null }
  })
}

/** Only these commands need the database's driver; the others start faster without it. */
async function useAudit<T>(
  url: string,
  work: (parts: Awaited<ReturnType<typeof openAudit>>) => Promise<T>,
): Promise<T> {
  return useDatabase(url, async (checked) => {
    const parts = await openAudit(checked)
    try {
      return await work(parts)
    } finally {
      await parts.database.stop()
    }
  })
}

async function openAudit(url: string) {
  const { createDatabase } = await import('../database/database.ts')
  const { readAllHeads } = await import('../audit/audit-chain.ts')
  const { verifyAudit } = await import('../audit/verify.ts')
  return { database: createDatabase({ url, poolMax: 3, poolMin: 0 }), readAllHeads, verifyAudit }
}

async function readHeadFile(file: string): Promise<AuditHead[]> {
  const content = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read (${error.code ?? error.message}).`)
  })
  const parsed = z
    .union([auditHeadSchema.transform((head) => [head]), z.array(auditHeadSchema)])
    .safeParse(parse(content))
  // Before the first event there is nothing that a chain could be compared with.
  if (parsed.success) return parsed.data.filter(({ position }) => position > 0)
  throw new UsageError(`${file} is not what \`sluice audit head --json\` prints.`)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
