import { type Command, Option } from 'commander'
import { createClient, type SluiceClient } from '../client/index.ts'
import { developmentTokensPath, readDevelopmentTokens, type DevelopmentTokens } from './development-tokens.ts'
import type { Terminal } from './output.ts'
import { UsageError } from './usage-error.ts'

/** The options of every command that talks to the HTTP API. */
export interface ConnectionOptions {
  readonly url?: string
  readonly token?: string
  readonly tenant?: string
  readonly data?: string
  readonly as?: keyof DevelopmentTokens
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
    .addHelpText('after', '\nSLUICE_REASON, where it is set, stands in the audit as the reason of what is changed.')
}

/** A client for the server, and with the credentials, that options, environment and data folder name, in this order. */
export async function connect(options: ConnectionOptions, env: Terminal['env']): Promise<SluiceClient> {
  const url = parseUrl(options.url ?? env['SLUICE_URL'] ?? defaultUrl)
  const token = options.as === undefined ? (options.token ?? env['SLUICE_TOKEN']) : undefined
  return createClient({
    baseUrl: url.href,
    token: token ?? (await findDevelopmentToken(url, options, env)),
    tenant: options.tenant,
    reason: env['SLUICE_REASON'] === '' ? undefined : env['SLUICE_REASON'],
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
  const dataDir = options.data ?? env['SLUICE_DATA_DIR'] ?? '.sluice'
  const tokens = await readDevelopmentTokens(dataDir)
  if (tokens !== undefined) return tokens[options.as ?? 'requester']
  if (options.as === undefined) return undefined
  throw new UsageError(
    `--as needs ${developmentTokensPath(dataDir)}, which is not there. Name the data folder of \`sluice start\` with --data.`,
  )
}
