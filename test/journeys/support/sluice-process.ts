import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { z } from 'zod'
import { connectApi, type Api } from './api.ts'
import { buildSluice, root } from './build.ts'

export type DevelopmentPrincipal = 'requester' | 'approver' | 'admin'

export interface SluiceProcess {
  readonly pid: number
  readonly url: string
  readonly dataDir: string
  /** Of the embedded PostgreSQL. */
  readonly databaseUrl: string
  /** Of the simulated cluster. */
  readonly kubeconfig: string
  /** What it has printed so far. */
  output(): string
  complaints(): string
  /** Talks to it as one of the development principals. */
  as(principal: DevelopmentPrincipal): Api
  /** Ctrl-C. @returns the exit code */
  stop(): Promise<number>
  /** SIGKILL, as a power cut would do it to this one process. Its PostgreSQL lives on. */
  kill(): Promise<void>
  /** SIGKILL to its PostgreSQL first, then to itself: nothing of the system lives on. */
  killEverything(): Promise<void>
}

const folders = new Set<string>()
const running = new Set<SluiceProcess>()

// Registered on import, so that it runs after the file's own hooks.
afterAll(async () => {
  for (const sluice of running) await sluice.stop()
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

/** A data folder of its own, removed when the test file has ended. */
export async function makeDataDir(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-journey-'))
  folders.add(folder)
  return folder
}

const startDeadlineMs = 60_000

/** `sluice start` as a user runs it, on a free port; resolves when it says that it is ready. Stopped at the file's end. */
export async function startSluiceProcess(dataDir: string): Promise<SluiceProcess> {
  await buildSluice()
  const child = spawn(process.execPath, [join(root, 'bin/sluice.js'), 'start', '--data', dataDir, '--port', '0'], {
    cwd: root,
    // The channel ends the child should this process be killed.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: ownSettingsOnly(process.env),
  })
  const exited = once(child, 'close').then(([code]) => Number(code ?? -1))
  const [output, complaints] = [collect(child, 'stdout'), collect(child, 'stderr')]
  await untilReady(child, output, complaints)
  const sluice = await describe(child, { dataDir, exited, output, complaints })
  running.add(sluice)
  void exited.then(() => running.delete(sluice))
  return sluice
}

function ownSettingsOnly(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const foreign = /^(SLUICE_|DATABASE_URL$|KUBECONFIG$|NODE_OPTIONS$|VITEST)/
  return Object.fromEntries(Object.entries(env).filter(([name]) => !foreign.test(name)))
}

function collect(child: ChildProcess, stream: 'stdout' | 'stderr'): () => string {
  let text = ''
  child[stream]?.setEncoding('utf8').on('data', (piece: string) => (text += piece))
  return () => text
}

/** The last of the ready lines; whatever else happens first is told. */
async function untilReady(child: ChildProcess, output: () => string, complaints: () => string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const look = () => {
    if (/^Simulated cluster: .*\n/m.test(output())) resolve()
  }
  const fail = (what: string) => () => reject(new Error(`sluice start ${what}:\n${output()}${complaints()}`))
  const timer = setTimeout(fail(`was not ready after ${startDeadlineMs / 1000} s`), startDeadlineMs)
  const onEnd = fail('ended')
  child.stdout?.on('data', look)
  child.once('close', onEnd)
  try {
    await promise
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(timer)
    child.stdout?.off('data', look)
    child.off('close', onEnd)
  }
}

interface Started {
  readonly dataDir: string
  readonly exited: Promise<number>
  readonly output: () => string
  readonly complaints: () => string
}

const tokensSchema = z.object({ requester: z.string(), approver: z.string(), admin: z.string() })
const postgresSchema = z.object({ port: z.number(), password: z.string() })

async function describe(child: ChildProcess, { dataDir, exited, output, complaints }: Started): Promise<SluiceProcess> {
  const read = async (name: string): Promise<unknown> => JSON.parse(await readFile(join(dataDir, name), 'utf8'))
  const tokens = tokensSchema.parse(await read('dev-tokens.json'))
  const postgres = postgresSchema.parse(await read('embedded-postgres.json'))
  const url = /^Sluice is ready on (\S+)$/m.exec(output())?.[1] ?? ''
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    return exited
  }
  return {
    pid: child.pid ?? 0,
    url,
    dataDir,
    databaseUrl: `postgres://postgres:${postgres.password}@127.0.0.1:${postgres.port}/sluice`,
    kubeconfig: join(dataDir, 'simulated-cluster.kubeconfig'),
    output,
    complaints,
    as: (principal) => connectApi(url, tokens[principal]),
    stop: () => end('SIGINT'),
    kill: async () => void (await end('SIGKILL')),
    killEverything: async () => {
      process.kill(await postmasterPid(dataDir), 'SIGKILL')
      await end('SIGKILL')
    },
  }
}

/** Of the PostgreSQL that runs on a data folder. */
export async function postmasterPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8'), 10)
}
