import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { OperationRegistry } from '../operations/registry.ts'
import type { Logger } from '../platform/logger.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { Queue } from '../queue/queue.ts'
import { insertJobs, isRace, toAcceptRow } from './accept-task.ts'
import { acceptTasks } from './accept-tasks.sql.ts'
import { appendEvent } from './append-event.sql.ts'
import type { Gate, JudgedRow } from './gate.ts'
import { databaseNow, type ScheduleRow, selectDue, selectUnderWay, takeFiring, updateSchedule } from './schedule.sql.ts'
import { nextRun } from './schedule.ts'

export interface FireSchedulesOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly operations: OperationRegistry
  readonly logger: Logger
  readonly tracer?: Tracer
  /** The policy at the door, as of the firing. Without it nothing needs an approval. */
  readonly gate?: Gate | undefined
  /** Whether the owner may still ask for this, by the rules of today. @default yes */
  readonly mayFire?:
    | ((firing: { readonly tenant: string; readonly owner: string; readonly operation: string }) => Promise<boolean>)
    | undefined
}

/** Later than this, nobody was there when it was due. */
const missedAfterMs = 60_000

/** Fires what is due. Any number of processes may do this at once: each firing happens in exactly one of them. */
export async function fireSchedules(options: FireSchedulesOptions): Promise<number> {
  // A rolling upgrade: what only a newer worker knows is that one's to fire.
  const known = options.operations.all().map(({ type }) => type)
  const due = await options.database.transaction({ role: 'sluice_worker' }, (tx) => selectDue(tx, known))
  let fired = 0
  for (const schedule of due) {
    try {
      if (await fireTraced(options, schedule)) fired++
    } catch (error) {
      options.logger.error('schedule could not fire; it is tried again', { schedule: schedule.name, error })
    }
  }
  return fired
}

function fireTraced(options: FireSchedulesOptions, schedule: ScheduleRow): Promise<boolean> {
  const { tracer } = options
  if (!tracer) return fireOnce(options, schedule)
  return tracer.withSpan(`fire ${schedule.operation}`, () => fireOnce(options, schedule), {
    kind: 'producer',
    attributes: { 'sluice.schedule.id': toWireId('schedule', schedule.schedule_id) },
  })
}

async function fireOnce(options: FireSchedulesOptions, schedule: ScheduleRow): Promise<boolean> {
  const { tenant_id: tenant, owner, operation } = schedule
  // Asked outside the transaction: it may look elsewhere.
  const allowed = (await options.mayFire?.({ tenant, owner, operation })) ?? true
  for (let tries = 0; ; tries++) {
    try {
      const kinds = await options.database.transaction({ role: 'sluice_api', tenant }, (tx) =>
        fire(options, tx, { schedule, allowed }),
      )
      if (kinds === undefined) return false
      options.signals.send('events', ...kinds)
      return kinds.length > 0
    } catch (error) {
      if (!isRace(error) || tries >= 3) throw error
    }
  }
}

/** Undefined when another process was first. */
async function fire(
  options: FireSchedulesOptions,
  tx: Transaction,
  { schedule, allowed }: { readonly schedule: ScheduleRow; readonly allowed: boolean },
): Promise<readonly ('short' | 'long')[] | undefined> {
  const now = await databaseNow(tx)
  const due = schedule.next_run_at ?? now
  const next = nextRun(schedule.cron, schedule.time_zone, now, schedule.start_at)
  // Who moves the next time on has the firing: everybody else waits here for the row, and finds it moved.
  if (!(await takeFiring(tx, { scheduleId: schedule.schedule_id, due, now, next }))) return undefined
  const skip = await reasonToSkip(tx, { schedule, allowed, lateMs: now.getTime() - due.getTime() })
  if (skip !== undefined) {
    await conclude(tx, schedule, { outcome: `Skipped: ${skip}`, type: 'schedule.skipped', due })
    return []
  }
  const { outcome, taskId, kinds } = await startTask(options, tx, schedule)
  await conclude(tx, schedule, {
    outcome,
    type: taskId === undefined ? 'schedule.skipped' : 'schedule.fired',
    due,
    ...(taskId !== undefined && { taskId }),
  })
  return kinds
}

async function reasonToSkip(
  tx: Transaction,
  firing: { readonly schedule: ScheduleRow; readonly allowed: boolean; readonly lateMs: number },
): Promise<string | undefined> {
  const { schedule } = firing
  if (!firing.allowed)
    return `${schedule.owner}, who owns the schedule, may not ask for ${schedule.operation} any more.`
  if (firing.lateMs > missedAfterMs && schedule.missed === 'skip')
    return `no worker was there when it was due, ${Math.round(firing.lateMs / 1000)} s ago.`
  if (schedule.overlap === 'allow') return undefined
  const under = await selectUnderWay(tx, schedule)
  return under && `the task before, ${toWireId('task', under.task_id)}, is still ${under.status}.`
}

interface StartedTask {
  readonly outcome: string
  readonly taskId?: string
  readonly kinds: readonly ('short' | 'long')[]
}

async function startTask(options: FireSchedulesOptions, tx: Transaction, schedule: ScheduleRow): Promise<StartedTask> {
  const operation = options.operations.get(schedule.operation)
  const input = operation?.input.safeParse(schedule.input)
  if (!operation || !input?.success) {
    const why = operation ? 'no longer takes its input' : 'is not offered here'
    return { outcome: `Skipped: the operation ${schedule.operation} ${why}.`, kinds: [] }
  }
  const traceparent = options.tracer?.currentTraceparent()
  const request = {
    ...(traceparent !== undefined && { traceparent }),
    operation,
    input: input.data,
    options: schedule.options,
    tenant: schedule.tenant_id,
    actor: schedule.owner,
    scheduleId: schedule.schedule_id,
  }
  const group = [{ request, row: toAcceptRow(request) }]
  const judged: readonly JudgedRow[] = options.gate ? await options.gate.judge(tx, group) : group
  const rows = judged.map(({ row }) => row)
  const accepted = await acceptTasks(tx, rows)
  const [only] = accepted
  if (only?.outcome !== 'accepted') {
    const reason = judged[0]?.reason
    if (reason !== undefined) return { outcome: `Skipped: ${reason}`, kinds: [] }
    const other = only ? `${toWireId('task', only.task_id)}, which is ${only.status}` : 'another task'
    return { outcome: `Skipped: it is in the way of ${other}.`, kinds: [] }
  }
  const kinds = await insertJobs(tx, options.queue, { rows, accepted })
  return { outcome: `Fired ${toWireId('task', only.task_id)}.`, taskId: only.task_id, kinds }
}

async function conclude(
  tx: Transaction,
  schedule: ScheduleRow,
  firing: { readonly outcome: string; readonly type: string; readonly due: Date; readonly taskId?: string },
): Promise<void> {
  const columns = { last_outcome: firing.outcome, ...(firing.taskId !== undefined && { last_task_id: firing.taskId }) }
  await updateSchedule(tx, schedule.schedule_id, columns)
  await appendEvent(tx, {
    taskId: null,
    type: firing.type,
    actor: schedule.owner,
    data: {
      schedule_id: toWireId('schedule', schedule.schedule_id),
      name: schedule.name,
      due: firing.due.toISOString(),
      outcome: firing.outcome,
    },
  })
}
