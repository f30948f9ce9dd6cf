import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { z } from 'zod'
import { createClient, type SluiceClient } from '../client/index.ts'
import { UsageError, type Terminal } from './output.ts'

/** The options of every command that talks to the HTTP API. */
export interface ConnectionOptions {
  readonly url?: string
  readonly token?: string
  readonly tenant?: string
  readonly data?: string
  readonly as?: string
  readonly json?: boolean
}

const defaultUrl = 'http://127.0.0.1:8080'

export function addConnectionOptions(command: Command): Command {
  return command
    .option('--url <url>', `where Sluice listens (SLUICE_URL, default ${defaultUrl})`)
    .option('--token <token>', 'bearer token (SLUICE_TOKEN, default from <data>/dev-tokens.json)')
    .option('--tenant <tenant>', 'needed by a principal of several tenants')
    .option('--data <folder>', 'data folder of a development server (SLUICE_DATA_DIR, default .sluice)')
    .addOption(
      new Option('--as <principal>', 'development principal to act as').choices(['requester', 'approver', 'admin']),
    )
    .option('--json', 'print JSON on stdout and nothing else')
}

/** A client for the server, and with the credentials, that options, environment and data folder name, in this order. */
export async function connect(options: ConnectionOptions, env: Terminal['env']): Promise<SluiceClient> {
  const url = parseUrl(options.url ?? env['SLUICE_URL'] ?? defaultUrl)
  const token = options.as === undefined ? (options.token ?? env['SLUICE_TOKEN']) : undefined
  return createClient({
    baseUrl: url.href,
    token: token ?? (await findDevelopmentToken(url, options, env)),
    tenant: options.tenant,
  })
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url
  throw new UsageError(`\`${text}\` is not an http or https address. Write for instance --url ${defaultUrl}`)
}

async function findDevelopmentToken(
  url: URL,
  options: ConnectionOptions,
  env: Terminal['env'],
): Promise<string | undefined> {
  // They are valid on one loopback server only, and are nobody else's business.
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)) {
    if (options.as !== undefined)
      throw new UsageError(`--as is for a development server on this machine, not for ${url.host}.`)
    return undefined
  }
  const file = join(options.data ?? env['SLUICE_DATA_DIR'] ?? '.sluice', 'dev-tokens.json')
  const tokens = await readTokens(file)
  const principal = options.as ?? 'requester'
  if (tokens === undefined) {
    if (options.as === undefined) return undefined
    throw new UsageError(
      `--as needs ${file}, which is not there. Name the data folder of \`sluice start\` with --data.`,
    )
  }
  const token = tokens[principal]
  if (token === undefined) throw new UsageError(`${file} has no token for \`${principal}\`.`)
  return token
}

async function readTokens(file: string): Promise<Record<string, string> | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new UsageError(`${file} cannot be read (${error instanceof Error ? error.message : String(error)}).`)
  }
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(text))
  } catch {
    throw new UsageError(`${file} is not a file of development tokens. Remove it and start Sluice again.`)
  }
}
