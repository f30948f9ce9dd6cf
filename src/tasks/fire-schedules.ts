import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Caller, Principal } from '../identity/principal.ts'
import { standingOf } from '../identity/standing.ts'
import type { OperationRegistry } from '../operations/registry.ts'
import type { Logger } from '../platform/logger.ts'
import type { FeatureFlags } from '../platform/feature-flags.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { Queue } from '../queue/queue.ts'
import { insertJobs, isRace, ownedInputs, toAcceptRow } from './accept-task.ts'
import { type AcceptOutcome, acceptTasks } from './accept-tasks.sql.ts'
import { appendEvent } from './append-event.sql.ts'
import type { Gate, JudgedRow } from './gate.ts'
import { offReason, type PinnedFlags, pinFlags } from './pin-flags.ts'
import type { Places } from './places.ts'
import { databaseNow, type ScheduleRow, selectDue, selectUnderWay, takeFiring, updateSchedule } from './schedule.sql.ts'
import { nextRun } from './schedule.ts'
import { keepTaskSecrets, openInput } from './secret-input.ts'
import type { SecretBox } from '../platform/secret-box.ts'

export interface FireSchedulesOptions {
  /** Opens and seals secrets of inputs. */
  readonly secrets?: SecretBox | undefined
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly operations: OperationRegistry
  readonly logger: Logger
  readonly featureFlags?: FeatureFlags
  readonly tracer?: Tracer
  /** The policy at the door, as of the firing. Without it nothing needs an approval. */
  readonly gate?: Gate | undefined
  /** As of `TaskAcceptorOptions`. */
  readonly places?: Places | undefined
  /** Who the owner of a schedule is today: undefined is nobody any more. Without it everybody may ask, in no role. */
  readonly findOwner?: ((tenant: string, name: string) => Promise<Owner | undefined>) | undefined
}

type Owner = Pick<Caller, 'principal' | 'permissions'>

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
  const { tenant_id: tenant } = schedule
  // Asked outside the transaction: it may look elsewhere.
  const owner = options.findOwner ? await options.findOwner(tenant, schedule.owner) : undefined
  const allowed = options.findOwner === undefined || owner?.permissions.has('tasks.request') === true
  const flags = await flagsOf(options, schedule, owner?.principal)
  for (let tries = 0; ; tries++) {
    try {
      const kinds = await options.database.transaction({ role: 'sluice_api', tenant }, (tx) =>
        fire(options, tx, { schedule, owner: owner?.principal, allowed, flags }),
      )
      if (kinds === undefined) return false
      options.signals.send(...kinds, 'events')
      return kinds.length > 0
    } catch (error) {
      if (!isRace(error) || tries >= 3) throw error
    }
  }
}

interface Firing {
  readonly schedule: ScheduleRow
  /** With the roles of today. */
  readonly owner: Principal | undefined
  readonly allowed: boolean
  /** Undefined where this process does not know the operation. */
  readonly flags: PinnedFlags | undefined
}

async function flagsOf(
  { operations, featureFlags }: FireSchedulesOptions,
  schedule: ScheduleRow,
  owner: Principal | undefined,
): Promise<PinnedFlags | undefined> {
  const operation = operations.get(schedule.operation)
  const asker = { tenant: schedule.tenant_id, actor: schedule.owner, roles: owner?.roles }
  return operation && (await pinFlags(featureFlags, { operation, ...asker }))
}

/** Undefined when another process was first. */
async function fire(
  options: FireSchedulesOptions,
  tx: Transaction,
  { schedule, owner, allowed, flags }: Firing,
): Promise<readonly ('short' | 'long')[] | undefined> {
  const now = await databaseNow(tx)
  const due = schedule.next_run_at ?? now
  const next = nextRun(schedule.cron, schedule.time_zone, now, schedule.start_at)
  // Who moves the next time on has the firing: everybody else waits here for the row, and finds it moved.
  if (!(await takeFiring(tx, { scheduleId: schedule.schedule_id, due, now, next }))) return undefined
  const skip = await reasonToSkip(tx, { schedule, allowed, lateMs: now.getTime() - due.getTime() })
  const fired = skip ?? (await startTask(options, tx, { schedule, owner, flags }))
  await conclude(tx, schedule, { ...fired, due })
  return fired.kinds
}

interface Fired {
  readonly outcome: string
  readonly taskId?: string
  /** Whether the owner may not have it: they are told. */
  readonly refused?: boolean
  readonly kinds: readonly ('short' | 'long')[]
}

const skipped = (why: string, refused = false): Fired => ({ outcome: `Skipped: ${why}`, refused, kinds: [] })

async function reasonToSkip(
  tx: Transaction,
  { schedule, allowed, lateMs }: Omit<Firing, 'owner' | 'flags'> & { readonly lateMs: number },
): Promise<Fired | undefined> {
  if (!allowed)
    return skipped(`${schedule.owner}, who owns the schedule, may not ask for ${schedule.operation} any more.`, true)
  if (lateMs > missedAfterMs && schedule.missed === 'skip')
    return skipped(`no worker was there when it was due, ${Math.round(lateMs / 1000)} s ago.`)
  if (schedule.overlap === 'allow') return undefined
  const under = await selectUnderWay(tx, schedule)
  return under && skipped(`the task before, ${toWireId('task', under.task_id)}, is still ${under.status}.`)
}

async function startTask(
  options: FireSchedulesOptions,
  tx: Transaction,
  { schedule, owner, flags }: Omit<Firing, 'allowed'>,
): Promise<Fired> {
  const operation = options.operations.get(schedule.operation)
  const input = operation?.input.safeParse(schedule.input)
  if (!operation || !input?.success) {
    const why = operation ? 'no longer takes its input' : 'is not offered here'
    return skipped(`the operation ${schedule.operation} ${why}.`)
  }
  if (flags?.off !== undefined) return skipped(offReason(operation.type, flags.off), true)
  const traceparent = options.tracer?.currentTraceparent()
  const owned = { owner: { tenant: schedule.tenant_id, id: schedule.schedule_id }, operation, input: input.data }
  const request = {
    ...(traceparent !== undefined && { traceparent }),
    ...(flags && { flags }),
    operation,
    input: await openInput(tx, options.secrets, owned),
    options: schedule.options,
    tenant: schedule.tenant_id,
    actor: schedule.owner,
    ...(owner && standingOf(owner)),
    ...(schedule.made_by.length > 0 && { madeBy: schedule.made_by }),
    scheduleId: schedule.schedule_id,
  }
  const group = [{ request, row: toAcceptRow(request, options.places) }]
  const judged: readonly JudgedRow[] = options.gate ? await options.gate.judge(tx, group) : group
  const rows = judged.map(({ row }) => row)
  const accepted = await acceptTasks(tx, rows)
  const [only] = accepted
  if (only?.outcome !== 'accepted') return skipped(...whyNot(only, judged[0]?.reason))
  await keepTaskSecrets(tx, options.secrets, ownedInputs(group, accepted))
  const kinds = await insertJobs(tx, options.queue, { rows, accepted })
  return { outcome: `Fired ${toWireId('task', only.task_id)}.`, taskId: only.task_id, kinds }
}

function whyNot(outcome: AcceptOutcome | undefined, reason: string | undefined): [why: string, refused: boolean] {
  if (reason !== undefined) return [reason, true]
  if (outcome?.outcome === 'tickets_of_requester' || outcome?.outcome === 'tickets_of_tenant')
    return ['it needs an approval, and as many tickets are open as the policy allows.', true]
  if (outcome?.outcome === 'over_quota') return ['the tenant has as many active tasks as its quota allows.', true]
  const other = outcome ? `${toWireId('task', outcome.task_id)}, which is ${outcome.status}` : 'another task'
  return [`it is in the way of ${other}.`, false]
}

interface Conclusion extends Fired {
  readonly due: Date
}

async function conclude(tx: Transaction, schedule: ScheduleRow, firing: Conclusion): Promise<void> {
  const { outcome, taskId, refused, due } = firing
  await updateSchedule(tx, schedule.schedule_id, {
    last_outcome: outcome,
    ...(taskId !== undefined && { last_task_id: taskId }),
  })
  // Once, however often it goes on being so.
  const tell = refused === true && schedule.last_outcome !== outcome
  await appendEvent(tx, {
    taskId: null,
    type: taskId === undefined ? 'schedule.skipped' : 'schedule.fired',
    actor: taskId === undefined ? 'scheduler' : schedule.owner,
    data: {
      schedule_id: toWireId('schedule', schedule.schedule_id),
      name: schedule.name,
      due: due.toISOString(),
      outcome,
      ...(tell && { tells: 'schedule_skipped', notify: [`principal:${schedule.owner}`] }),
    },
  })
}
