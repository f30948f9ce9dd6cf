import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CannotStartError } from '../cannot-start-error.ts'
import type { Account } from './postgres-account.ts'
import { describeSpawnError, folderArgument, spawnProgram } from './spawn-program.ts'

export interface PostmasterOptions {
  readonly postgres: string
  readonly clusterDir: string
  readonly logPath: string
  readonly account: Account | undefined
  readonly port: number
  readonly settings: Readonly<Record<string, string>>
}

/** Recovery after a crash replays what the last checkpoint left; it may take a while on a slow disk. */
const startDeadlineMs = 60_000
const fastShutdownMs = 20_000
const immediateShutdownMs = 5_000
const keptLogBytes = 8 * 1024 * 1024

/** The running server process, from its spawn to its end. */
export class Postmaster {
  readonly #child: ChildProcess
  readonly #options: PostmasterOptions
  readonly #logStart: number
  readonly #ended: Promise<void>
  readonly #killAtExit: () => void
  #hasEnded = false
  #spawnError: Error | undefined
  #stopped: Promise<void> | undefined

  private constructor(options: PostmasterOptions, child: ChildProcess, logStart: number) {
    this.#options = options
    this.#child = child
    this.#logStart = logStart
    this.#ended = new Promise((resolve) => {
      const end = (error?: Error) => {
        this.#spawnError = error
        this.#hasEnded = true
        process.off('exit', this.#killAtExit)
        resolve()
      }
      child.once('error', end)
      child.once('exit', () => end())
    })
    // The last resort where nobody came to call stop(). Only a SIGKILL of this process leaves PostgreSQL running.
    this.#killAtExit = () => this.#kill(this.#stopped === undefined ? 'SIGINT' : 'SIGQUIT')
    process.once('exit', this.#killAtExit)
  }

  static async spawn(options: PostmasterOptions): Promise<Postmaster> {
    const logStart = await rotateLog(options.logPath)
    const log = openSync(options.logPath, 'a', 0o600)
    try {
      const settings = Object.entries(options.settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
      const args = ['-D', folderArgument(options.clusterDir, options.account), '-p', String(options.port), ...settings]
      // Its log is a file and no pipe, so that it can go on writing when this process is killed.
      const { clusterDir, account } = options
      const child = spawnProgram(options.postgres, args, { clusterDir, account, stdio: ['ignore', log, log] })
      child.unref()
      return new Postmaster(options, child, logStart)
    } finally {
      closeSync(log)
    }
  }

  /** Settles when the process is gone, whoever ended it. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /** @throws CannotStartError with PostgreSQL's own reason, or the signal's reason; the process is gone then. */
  async waitUntilReady(signal?: AbortSignal): Promise<void> {
    const deadline = performance.now() + startDeadlineMs
    while (!this.#isReady()) {
      if (this.#hasEnded) throw await this.#explainEnd()
      if (signal?.aborted === true || performance.now() > deadline) {
        await this.stop()
        signal?.throwIfAborted()
        throw new CannotStartError(
          `PostgreSQL was not ready after ${startDeadlineMs / 1000} s; see ${this.#options.logPath}.`,
        )
      }
      await delay(10)
    }
  }

  /** Fast shutdown: open transactions are rolled back, everything committed is flushed. May be called again. */
  stop(): Promise<void> {
    this.#stopped ??= this.#shutDown()
    return this.#stopped
  }

  async #shutDown(): Promise<void> {
    this.#child.ref()
    this.#kill('SIGINT')
    if (await settlesWithin(this.#ended, fastShutdownMs)) return
    this.#kill('SIGQUIT')
    if (await settlesWithin(this.#ended, immediateShutdownMs)) return
    this.#kill('SIGKILL')
    await this.#ended
  }

  #isReady(): boolean {
    try {
      const lines = readFileSync(join(this.#options.clusterDir, 'postmaster.pid'), 'utf8').split('\n')
      return Number(lines[0]) === this.#child.pid && lines[7]?.trim() === 'ready'
    } catch {
      return false
    }
  }

  #kill(signal: NodeJS.Signals): void {
    if (!this.#hasEnded) this.#child.kill(signal)
  }

  async #explainEnd(): Promise<Error> {
    if (this.#spawnError !== undefined) return describeSpawnError(this.#spawnError)
    const log = await readFrom(this.#options.logPath, this.#logStart)
    const line = /(?:PANIC|FATAL): {2}(.*)/.exec(log)?.[1] ?? log.trim().split('\n').at(-1) ?? ''
    // The folder's name for the server says nothing to the person who reads this.
    const reason = line.replace(/^postgres: /, '').replaceAll('/proc/self/cwd', this.#options.clusterDir)
    if (/Address already in use/.test(log)) return new PortTakenError(this.#options.port)
    return new CannotStartError(
      `PostgreSQL cannot open the database in ${this.#options.clusterDir} (${reason.replace(/\.$/, '')}). ` +
        `If it is damaged, restore it from a copy or move it away to begin anew; the whole story is in ${this.#options.logPath}.`,
    )
  }
}

/** Somebody took the port between the look and the start. */
export class PortTakenError extends Error {
  readonly code = 'port_taken'
  override readonly name = 'PortTakenError'

  constructor(port: number) {
    super(`Port ${port} is taken.`)
  }
}

async function rotateLog(path: string): Promise<number> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size < keptLogBytes) return size
  await rename(path, `${path}.1`)
  return 0
}

async function readFrom(path: string, start: number): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size - start, 64 * 1024)), { position: start })
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

async function settlesWithin(settled: Promise<void>, ms: number): Promise<boolean> {
  const timeout = new AbortController()
  try {
    return await Promise.race([
      settled.then(() => true),
      delay(ms, false, { signal: timeout.signal }).catch(() => false),
    ])
  } finally {
    timeout.abort()
  }
}
