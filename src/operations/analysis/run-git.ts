import { spawn } from 'node:child_process'
import { devNull } from 'node:os'
import { TransientError } from '../errors.ts'

export interface GitOptions {
  /** Kills git, and all that it has started. */
  readonly signal: AbortSignal
  /** Where it works, and its home: there is nothing of the user's in it. */
  readonly folder: string
  /** Read before the command's own arguments, as `-c` reads them. */
  readonly settings?: readonly string[]
  /** Bytes of output after which it is killed. @default 65_536 */
  readonly maxOutputBytes?: number
}

/** Git ended with an error of its own; `said` is what it wrote, without what the server said. */
export class GitFailedError extends Error {
  readonly said: string
  constructor(said: string) {
    super(`git failed: ${said}`)
    this.said = said
  }
}

/** Git wrote more than was asked for. */
export class OutputTooLongError extends Error {}

// Nothing of this machine's, of its user's or of the repository's decides what git does, and nothing but https is spoken.
const fixedSettings = [
  'protocol.allow=never',
  'protocol.https.allow=always',
  // Each leads somewhere that was not looked at.
  'http.followRedirects=false',
  'transfer.bundleURI=false',
  'submodule.recurse=false',
  'fetch.recurseSubmodules=false',
  'protocol.version=2',
  // A server that sends next to nothing for half a minute is away.
  'http.lowSpeedLimit=1000',
  'http.lowSpeedTime=30',
  'credential.helper=',
  'core.askPass=',
  `core.hooksPath=${devNull}`,
  `core.attributesFile=${devNull}`,
  'core.fsmonitor=false',
  'gc.auto=0',
  'maintenance.auto=false',
  // Streams what is larger instead of holding it, and counts no lines in it.
  'core.bigFileThreshold=8m',
  'pack.threads=1',
  'fetch.unpackLimit=1',
  'i18n.logOutputEncoding=utf-8',
]

const maxErrorBytes = 16_384

/**
 * Runs git, without a shell, and returns what it wrote. It has a process group of its own: its helpers would outlive it.
 * Rejects with the signal's reason once all of them are gone.
 */
export async function runGit(args: readonly string[], options: GitOptions): Promise<string> {
  const { signal, folder, settings = [], maxOutputBytes = 65_536 } = options
  signal.throwIfAborted()
  const all = [...fixedSettings, ...settings].flatMap((setting) => ['-c', setting])
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const child = spawn('git', [...all, ...args], {
    cwd: folder,
    env: environmentIn(folder),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let stopped: Error | undefined
  const kill = (): void => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      // All of them have ended.
    }
  }
  signal.addEventListener('abort', kill, { once: true })
  const output: Buffer[] = []
  let bytes = 0
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= maxOutputBytes) output.push(chunk)
    else {
      stopped ??= new OutputTooLongError(`git wrote more than ${maxOutputBytes} bytes`)
      kill()
    }
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-maxErrorBytes)
  })
  child.once('error', (error) => {
    const message = `git cannot be run (${error.message}). Install git 2.37 or newer where the workers run.`
    reject(new TransientError(message, { code: 'git_missing', cause: error }))
  })
  child.once('close', (code) => {
    if (stopped) reject(stopped)
    else if (code === 0) resolve(Buffer.concat(output).toString())
    else reject(new GitFailedError(withoutServer(errors)))
  })
  try {
    return await promise
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', kill)
  }
}

function environmentIn(folder: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    HOME: folder,
    XDG_CONFIG_HOME: folder,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: devNull,
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    // What is read from its words is read in English.
    LC_ALL: 'C',
  }
}

// What the server wants its users to read is not what git has to say of it.
function withoutServer(errors: string): string {
  const lines = errors.split(/[\r\n]+/).filter((line) => line !== '' && !line.startsWith('remote:'))
  // oxlint-disable-next-line no-control-regex -- that is what is taken out
  return lines.join('; ').replace(/[\u0000-\u001f\u007f]/g, ' ')
}

let version: Promise<void> | undefined

/** @throws TransientError `git_missing` where there is no git, or one that cannot be held to an address */
export function checkGit(options: GitOptions): Promise<void> {
  version ??= readVersion(options).catch((error: unknown) => {
    // It may be installed while we run.
    version = undefined
    throw error
  })
  return version
}

async function readVersion({ folder }: GitOptions): Promise<void> {
  const text = await runGit(['version'], { folder, signal: AbortSignal.timeout(10_000) })
  const [, major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(text) ?? []).map(Number)
  if (major > 2 || (major === 2 && minor >= 37)) return
  throw new TransientError(`This worker has ${text.trim()}; an analysis needs git 2.37 or newer.`, {
    code: 'git_missing',
  })
}
