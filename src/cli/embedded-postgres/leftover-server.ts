import { execFileSync } from 'node:child_process'
import { readdir, readFile, readlink, realpath, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { CannotStartError } from '../cannot-start-error.ts'

const fastShutdownMs = 10_000
const immediateShutdownMs = 5_000

/**
 * Ends the PostgreSQL that a killed Sluice left running on this cluster. It is stopped rather than adopted: a restart costs
 * 0.2 s, and afterwards its settings and programs are today's and no session of the dead process holds a lock.
 * `postmaster.pid` alone proves nothing, its number may belong to somebody else by now: what is ended is a program called
 * postgres that stands in this very folder.
 */
export async function stopLeftoverServer(clusterDir: string): Promise<void> {
  const folder = await realpath(clusterDir)
  for (const { signal, ms } of [
    { signal: 'SIGINT', ms: fastShutdownMs },
    { signal: 'SIGQUIT', ms: immediateShutdownMs },
  ] as const) {
    const postmaster = await readPostmasterPid(folder)
    const servers = await findServers(folder, postmaster)
    if (servers.length === 0) {
      // Nobody is left, so PostgreSQL need not wonder whether the number in the file is alive.
      await rm(join(folder, 'postmaster.pid'), { force: true })
      return
    }
    // Backends without their postmaster leave by themselves; while it lives, it is the one to tell.
    const told = postmaster !== undefined && servers.includes(postmaster) ? [postmaster] : servers
    for (const pid of told) sendSignal(pid, signal)
    const deadline = performance.now() + ms
    while ((await findServers(folder, postmaster)).length > 0 && performance.now() < deadline) await delay(20)
  }
  const [left] = await findServers(folder, await readPostmasterPid(folder))
  if (left === undefined) return
  throw new CannotStartError(
    `A PostgreSQL that an earlier Sluice left running on ${clusterDir} (process ${left}) does not end. ` +
      'End it, and start again.',
  )
}

async function readPostmasterPid(folder: string): Promise<number | undefined> {
  const text = await readFile(join(folder, 'postmaster.pid'), 'utf8').catch(() => '')
  const pid = Number.parseInt(text, 10)
  return pid > 1 ? pid : undefined
}

function findServers(folder: string, postmaster: number | undefined): Promise<number[]> {
  return process.platform === 'linux' ? findByProc(folder) : findByPs(folder, postmaster)
}

async function findByProc(folder: string): Promise<number[]> {
  const found: number[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    // Not ours to look at, or gone meanwhile: then it is no server of this folder.
    const cwd = await readlink(`/proc/${entry}/cwd`).catch(() => undefined)
    if (cwd !== folder) continue
    const program = await readlink(`/proc/${entry}/exe`).catch(() => '')
    if (basename(program.replace(/ \(deleted\)$/, '')) === 'postgres') found.push(Number(entry))
  }
  return found
}

async function findByPs(folder: string, postmaster: number | undefined): Promise<number[]> {
  if (postmaster === undefined) return []
  try {
    const command = execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(postmaster)], { encoding: 'utf8' })
    return command.includes('postgres') && command.includes(folder) ? [postmaster] : []
  } catch {
    return []
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone meanwhile; the loop looks again.
  }
}
