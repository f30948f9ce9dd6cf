import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { identifyProcess } from './process-identity.ts'

const launcher = fileURLToPath(new URL('../../bin/sluice.js', import.meta.url))

/** Stands in for the command: says what it was started with, and how it was asked to stop. */
const command = `
  export async function runCli(args) {
    console.log(process.versions.node, process.pid, ...args)
    if (args[0] === 'exit') return Number(args[1])
    return new Promise((resolve) => {
      for (const event of ['SIGINT', 'SIGTERM', 'disconnect']) process.once(event, () => { console.log(event); resolve(7) })
      setInterval(() => undefined, 1000)
    })
  }`

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-launcher-'))
  await put('package.json', '{"type":"module"}')
  await put('dist/cli/main.js', command)
  await mkdir(join(folder, 'bin'))
  await copyFile(launcher, join(folder, 'bin/sluice.js'))
})
afterEach(() => rm(folder, { recursive: true }))

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), content)
}

interface Launched {
  readonly child: ChildProcess
  readonly output: () => string
  readonly exited: Promise<number | null>
}

/** @param version what this Node says it is */
function launch(args: readonly string[], version: string): Launched {
  const pretend = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`
  const flags = ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`]
  const child = spawn(process.execPath, [...flags, join(folder, 'bin/sluice.js'), ...args])
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  return { child, output: () => output, exited: once(child, 'close').then(([code]) => code) }
}

describe('the launcher', () => {
  test('starts the command with its arguments, and ends with its exit code', async () => {
    const { exited, output } = launch(['exit', '3'], '22.19.0')
    expect(await exited).toBe(3)
    expect(output()).toMatch(/^22\.19\.0 \d+ exit 3\n$/)
  })

  test.each(['20.19.0', '22.18.9', '12.22.0'])('says on Node %s what it needs and what it found', async (version) => {
    const { exited, output } = launch(['start'], version)
    expect(await exited).toBe(1)
    expect(output()).toBe(
      `Sluice needs Node 22.19 or newer, and this is Node ${version}. Install a newer one from https://nodejs.org and try again.\n`,
    )
  })

  test('says in a checkout how to get the Node that belongs to it', async () => {
    await put('src/cli/main.ts', '')
    const { exited, output } = launch(['start'], '20.19.0')
    expect(await exited).toBe(1)
    expect(output()).toContain('node_modules/node/bin/node): run npm ci again, without --ignore-scripts.')
  })

  test('says what to do when nothing is built', async () => {
    await rm(join(folder, 'dist'), { recursive: true })
    const { exited, output } = launch(['start'], '24.0.0')
    expect(await exited).toBe(1)
    expect(output()).toMatch(/^Sluice is not built: .*main\.js is missing\. Run: npm run build\n$/)
  })
})

describe('on an old Node in a checkout the launcher', () => {
  beforeEach(async () => {
    await put('src/cli/main.ts', '')
    await mkdir(join(folder, 'node_modules/node/bin'), { recursive: true })
    await symlink(process.execPath, join(folder, 'node_modules/node/bin/node'))
  })

  async function untilRunning({ output }: Launched): Promise<number> {
    await expect.poll(output, { timeout: 10_000 }).toMatch(/^[\d.]+ \d+ start\n/)
    return Number(output().split(' ')[1])
  }

  test('hands over to the Node that belongs to it', async () => {
    const { exited, output } = launch(['exit', '3'], '20.19.0')
    expect(await exited).toBe(3)
    expect(output()).toMatch(new RegExp(`^${process.versions.node} \\d+ exit 3\n$`))
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('passes %s on and waits for the end', async (signal) => {
    const launched = launch(['start'], '20.19.0')
    await untilRunning(launched)
    launched.child.kill(signal)
    expect(await launched.exited).toBe(7)
    expect(launched.output()).toContain(`${signal}\n`)
  })

  test('does not leave the command behind when it is killed', async () => {
    const launched = launch(['start'], '20.19.0')
    const pid = await untilRunning(launched)
    launched.child.kill('SIGKILL')
    await launched.exited
    await expect.poll(() => identifyProcess(pid), { timeout: 10_000 }).toBeUndefined()
    expect(launched.output()).toContain('disconnect\n')
  })
})
