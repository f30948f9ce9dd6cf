import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { identifyProcess } from './process-identity.ts'

const program = fileURLToPath(new URL('../../test/helpers/start-process.ts', import.meta.url))

let dataDir: string
const running = new Set<ChildProcess>()

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sluice-start-'))
})
afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
})
afterAll(async () => {
  await rm(dataDir, { recursive: true })
})

interface StartProcess {
  readonly pid: number
  readonly output: () => string
  readonly complaints: () => string
  readonly exited: Promise<number>
  /** The whole foreground group gets it, as from a terminal. */
  pressCtrlC(): void
  until(text: string): Promise<void>
}

function startProcess(options: { data?: string; port?: number; standIn?: string } = {}): StartProcess {
  const flags = ['--data', options.data ?? dataDir, '--port', String(options.port ?? 0)]
  const child = spawn(process.execPath, [program, ...flags], {
    // A group of its own, which a signal can be sent to without meeting this process.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, STAND_IN: options.standIn ?? '' },
  })
  running.add(child)
  let [output, complaints] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text))
  const exited = once(child, 'close').then(([code]) => {
    running.delete(child)
    return Number(code)
  })
  const pid = child.pid ?? 0
  return {
    pid,
    exited,
    output: () => output,
    complaints: () => complaints,
    pressCtrlC: () => void process.kill(-pid, 'SIGINT'),
    async until(text) {
      await expect.poll(() => output + complaints, { timeout: 20_000, interval: 20 }).toContain(text)
    },
  }
}

async function postmasterOf(folder: string): Promise<number> {
  return Number.parseInt(await readFile(join(folder, 'postgres/postmaster.pid'), 'utf8'), 10)
}

async function untilGone(pid: number): Promise<void> {
  await expect.poll(() => identifyProcess(pid), { timeout: 10_000, interval: 20 }).toBeUndefined()
}

describe('Ctrl-C', () => {
  test('takes everything down in order, and leaves no process and no lock behind', async () => {
    const sluice = startProcess()
    await sluice.until('Console: ')
    expect(sluice.output()).toMatch(
      /^start 1\nSluice is ready on http:\/\/127\.0\.0\.1:\d+\ncurl .*\nnpx sluice submit .*\n/,
    )
    const postmaster = await postmasterOf(dataDir)
    sluice.pressCtrlC()
    expect(await sluice.exited).toBe(0)
    expect(sluice.output()).toMatch(/\nStopping \(Ctrl-C\) …\nSluice has stopped\nthe cluster has stopped\n$/)
    expect(sluice.complaints()).toBe('')
    expect(identifyProcess(postmaster)).toBeUndefined()
    expect((await readdir(dataDir)).sort()).toEqual([
      'dev-tokens.json',
      'embedded-postgres.json',
      'postgres',
      'postgres.log',
      'secret.key',
      'simulated-cluster',
      'simulated-cluster.kubeconfig',
    ])
  })

  test('that npm passes on a second time is one', async () => {
    const sluice = startProcess()
    await sluice.until('Console: ')
    sluice.pressCtrlC()
    sluice.pressCtrlC()
    expect(await sluice.exited).toBe(0)
    expect(sluice.output()).toContain('Sluice has stopped\n')
  })

  test('again, when the first takes too long, ends all at once', async () => {
    const sluice = startProcess({ standIn: 'hangs' })
    await sluice.until('Console: ')
    const postmaster = await postmasterOf(dataDir)
    const pressAgain = setInterval(() => sluice.pressCtrlC(), 200)
    try {
      expect(await sluice.exited).toBe(130)
    } finally {
      clearInterval(pressAgain)
    }
    await untilGone(postmaster)
  })

  test('during the first start ends it at once', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-start-'))
    const sluice = startProcess({ data: folder })
    await expect
      .poll(() => readdir(folder), { timeout: 20_000, interval: 10 })
      .toContainEqual(expect.stringMatching(/partial/))
    sluice.pressCtrlC()
    expect(await sluice.exited).toBe(0)
    expect((await readdir(folder)).filter((name) => /partial|lock/.test(name))).toEqual([])
    await rm(folder, { recursive: true })
  })
})

describe('another start', () => {
  test('after kill -9 ends the PostgreSQL left running, and finds its data', async () => {
    const first = startProcess()
    await first.until('Console: ')
    const [, starts] = /start (\d+)/.exec(first.output()) ?? []
    const leftover = await postmasterOf(dataDir)
    process.kill(first.pid, 'SIGKILL')
    await first.exited
    expect(identifyProcess(leftover)).toBeDefined()
    const second = startProcess()
    await second.until('Console: ')
    expect(second.output()).toContain(`start ${Number(starts) + 1}\n`)
    expect(identifyProcess(leftover)).toBeUndefined()
    second.pressCtrlC()
    expect(await second.exited).toBe(0)
  })

  test('on a folder in use is refused and does no harm', async () => {
    const first = startProcess()
    await first.until('Console: ')
    const second = startProcess()
    expect(await second.exited).toBe(1)
    expect(second.complaints()).toBe(
      `The data folder ${dataDir} is in use by another Sluice (process ${first.pid}). Stop that one, or choose another with --data.\n`,
    )
    expect(identifyProcess(await postmasterOf(dataDir))).toBeDefined()
    first.pressCtrlC()
    expect(await first.exited).toBe(0)
  })
})

describe('a failure is one sentence, exit code 1, and nothing left running', () => {
  test('a port in use is named with its flag, before anything is started', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const address = other.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const folder = join(dataDir, 'untouched')
    const sluice = startProcess({ port, data: folder })
    expect(await sluice.exited).toBe(1)
    expect(sluice.complaints()).toBe(
      `Port ${port} on 127.0.0.1 is in use by another program. Choose another with --port (or SLUICE_PORT).\n`,
    )
    expect(await stat(folder).catch(() => undefined)).toBeUndefined()
    other.close()
  })

  test('of Sluice itself', async () => {
    const sluice = startProcess({ standIn: 'fails' })
    expect(await sluice.exited).toBe(1)
    expect(sluice.complaints()).toBe('Sluice failed: the reason\n')
    expect(sluice.output()).toBe('the cluster has stopped\n')
    await expect(postmasterOf(dataDir)).rejects.toThrow('ENOENT')
  })

  test('that nobody caught', async () => {
    const sluice = startProcess({ standIn: 'throws' })
    expect(await sluice.exited).toBe(1)
    expect(sluice.complaints()).toBe('Sluice failed: nobody caught me\n')
    expect(sluice.output()).toContain('Sluice has stopped\n')
    await expect(postmasterOf(dataDir)).rejects.toThrow('ENOENT')
  })

  test('of PostgreSQL, killed while all is well', async () => {
    const sluice = startProcess()
    await sluice.until('Console: ')
    process.kill(await postmasterOf(dataDir), 'SIGKILL')
    expect(await sluice.exited).toBe(1)
    expect(sluice.complaints()).toContain(
      'The embedded PostgreSQL ended though nobody stopped it; its last words are in',
    )
    const again = startProcess()
    await again.until('Console: ')
    again.pressCtrlC()
    expect(await again.exited).toBe(0)
  })
})
