import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { type Finding, grade, type Patient } from './finding.ts'
import { listenOn, type ListenState, notifyOn, readListenState, readProcesses } from './health.sql.ts'

/** Whether LISTEN and NOTIFY reach from one connection to another, and whether every process listens. */
export async function examineListen(patient: Patient): Promise<Finding> {
  const { pool, limits } = patient
  const tookMs = await notifyMs(patient)
  const state = await readListenState(pool)
  const alive = (await readProcesses(pool)).filter((one) => one.alive)
  return judge({ tookMs, state, processes: alive.length, limits })
}

interface Listening {
  /** Undefined: it did not arrive. */
  readonly tookMs: number | undefined
  readonly state: ListenState
  readonly processes: number
  readonly limits: Patient['limits']
}

function judge({ tookMs, state, processes, limits }: Listening): Finding {
  const check = 'signals'
  if (tookMs === undefined || tookMs >= limits.notifyMs.fail) {
    const found = `A notification did not arrive within ${limits.notifyMs.fail} ms: everything goes on by polling, later.`
    const advice =
      'A session of its own is what LISTEN needs. Behind PgBouncer in transaction mode, let DATABASE_URL name PostgreSQL itself.'
    return { check, state: 'fail', found, advice }
  }
  if (state.usage >= 0.1) {
    const found = `The queue of notifications is ${Math.round(state.usage * 100)} % full.`
    const advice =
      'A session listens and never ends its transaction: see "long transactions". Full, every NOTIFY fails.'
    return { check, state: state.usage >= 0.5 ? 'fail' : 'warn', found, advice }
  }
  if (state.listeners < processes) {
    const found = `${state.listeners} of ${processes} processes listen; the others poll.`
    return {
      check,
      state: 'warn',
      found,
      advice: 'Look for "signals are interrupted" in their logs; they connect again.',
    }
  }
  const slow = grade(tookMs, limits.notifyMs)
  const found = `A notification takes ${Math.round(tookMs)} ms; ${state.listeners} connections listen.`
  const advice = slow === 'ok' ? null : 'PostgreSQL is slow to tell: look at its load.'
  return { check, state: slow, found, advice }
}

// On a channel of its own: who listens for signals is not woken for nothing.
async function notifyMs({ url, pool, limits }: Patient): Promise<number | undefined> {
  const channel = `sluice_doctor_${randomUUID().replaceAll('-', '')}`
  const client = new Client({ connectionString: url, application_name: 'sluice doctor', query_timeout: 5_000 })
  client.on('error', () => undefined)
  const heard = new Promise<true>((resolve) => client.on('notification', () => resolve(true)))
  const over = new AbortController()
  try {
    await client.connect()
    await listenOn(client, channel)
    const sent = performance.now()
    await notifyOn(pool, channel)
    const late = delay(limits.notifyMs.fail, false, { signal: over.signal }).catch(() => false)
    return (await Promise.race([heard, late])) ? performance.now() - sent : undefined
  } finally {
    over.abort()
    await client.end().catch(() => undefined)
  }
}
