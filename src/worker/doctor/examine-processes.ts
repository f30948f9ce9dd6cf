import { type DueJobs, readDueJobs } from '../../queue/engine-status.sql.ts'
import { type Finding, grade, listing, type Patient } from './finding.ts'
import { measureSkew, type ProcessRow, readProcesses } from './health.sql.ts'

/** Who is up, and how late or early their clocks are. */
export async function examineProcesses({ pool, limits }: Patient): Promise<Finding[]> {
  const processes = await readProcesses(pool)
  return [whoIsUp(processes), skewOf(processes, await measureSkew(pool), limits.skewMs)]
}

function whoIsUp(processes: readonly ProcessRow[]): Finding {
  const alive = processes.filter((one) => one.alive)
  const lost = processes.filter((one) => !one.alive)
  const workers = alive.filter(({ role }) => role !== 'api')
  const check = 'processes'
  if (workers.length === 0) {
    const found = alive.length === 0 ? 'No process is up.' : 'No worker is up: only processes that serve the API.'
    return { check, state: 'fail', found, advice: 'Start one: `sluice start`, or `sluice start --role worker`.' }
  }
  const up = `${workers.length} ${workers.length === 1 ? 'worker' : 'workers'} of ${alive.length} up`
  if (lost.length === 0) return { check, state: 'ok', found: `${up}.`, advice: null }
  const found = `${up}; lost within the last hour: ${listing(lost.map(({ id }) => id))}.`
  return { check, state: 'warn', found, advice: 'Look at the logs of those that were lost; others have their tasks.' }
}

function skewOf(processes: readonly ProcessRow[], hereMs: number, limit: Patient['limits']['skewMs']): Finding {
  const clocks = [
    ...processes.filter((one) => one.alive).map(({ id, skewMs }) => ({ id, skewMs })),
    { id: 'this machine', skewMs: hereMs },
  ].toSorted((a, b) => Math.abs(b.skewMs) - Math.abs(a.skewMs))
  const worst = Math.abs(clocks[0]?.skewMs ?? 0)
  const state = grade(worst, limit)
  const check = 'clock skew'
  if (state === 'ok') return { check, state, found: `At most ${Math.round(worst)} ms to the database’s.`, advice: null }
  const off = clocks.filter(({ skewMs }) => Math.abs(skewMs) >= limit.warn)
  const found = `Clocks that differ from the database’s: ${listing(off.map(({ id, skewMs }) => `${id} by ${Math.round(skewMs)} ms`))}.`
  const advice =
    'Set the clocks (NTP). Deadlines and schedules go by the database’s clock and hold; signatures, start times and conditions of the policy go by the process’s.'
  return { check, state, found, advice }
}

/** Jobs that nobody takes. */
export async function examineBacklog({ pool, limits }: Patient): Promise<Finding> {
  const due = await readDueJobs(pool)
  const check = 'backlog'
  const oldestMs = Math.max(0, ...due.map(({ oldestS }) => oldestS * 1000))
  const state = grade(oldestMs, limits.oldestJobMs)
  const found = due.length === 0 ? 'No job is due.' : `Due: ${due.map(describe).join(', ')}.`
  if (state === 'ok') return { check, state, found, advice: null }
  const advice =
    'Start more workers, or look at what keeps them: `sluice workers`, `sluice queues list`, `sluice tasks list --status PENDING` (why_waiting says why).'
  return { check, state, found, advice }
}

const describe = ({ queue, due, oldestS }: DueJobs): string =>
  `${due} in ${queue}, the oldest for ${Math.round(oldestS)} s`
