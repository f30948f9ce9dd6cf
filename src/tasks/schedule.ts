import { Cron } from 'croner'
import { v7 as uuidv7 } from 'uuid'
import { toWireId } from '../contract/ids.ts'
import type { Schedule } from '../contract/schedule.ts'
import type { TaskOptions } from '../contract/task.ts'
import type { Database, Transaction } from '../database/database.ts'
import { type Operation, RefusedError } from '../operations/define-operation.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import { appendEvent } from './append-event.sql.ts'
import { keepScheduleSecrets, takeSecrets } from './secret-input.ts'
import {
  databaseNow,
  insertSchedule,
  removeSchedule,
  type ScheduleRow,
  selectSchedule,
  selectSchedules,
  updateSchedule,
} from './schedule.sql.ts'

export interface ScheduleFields {
  readonly name: string
  readonly operation: Operation
  /** As the operation's schema returned it. */
  readonly input: unknown
  readonly options: TaskOptions
  readonly cron: string
  readonly timeZone: string
  readonly startAt: Date | undefined
  readonly paused: boolean
  readonly missed: 'skip' | 'run_once'
  readonly overlap: 'skip' | 'allow'
}

export interface ScheduleScope {
  readonly database: Database
  readonly tenant: string
  readonly actor: string
  /** Who else had the token in hand that the actor came with. @default nobody */
  readonly madeBy?: readonly string[] | undefined
  /** Seals secrets of inputs. */
  readonly secrets?: SecretBox | undefined
}

/**
 * The first time after `after` (and not before `startAt`) that a five-field expression names in its time zone. An hour
 * that the clocks skip fires at its end; one that they repeat fires once. Null when there is none.
 * Throws `RefusedError` when the expression or the zone is none.
 */
export function nextRun(cron: string, timeZone: string, after: Date, startAt?: Date | null): Date | null {
  try {
    const job = new Cron(cron, { timezone: timeZone, paused: true, mode: '5-part' })
    // Exclusive: a start that the expression names itself is a firing.
    const from = startAt && startAt > after ? new Date(startAt.getTime() - 1_000) : after
    return job.nextRun(from)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new RefusedError(`The schedule "${cron}" in ${timeZone} cannot be read: ${why}`, {
      status: 422,
      code: 'invalid_schedule',
    })
  }
}

/** Throws `RefusedError` when the name is taken or the expression cannot be read. */
export async function createSchedule(scope: ScheduleScope, fields: ScheduleFields): Promise<ScheduleRow> {
  return inTenant(scope, async (tx) => {
    const row = await insertSchedule(tx, {
      schedule_id: uuidv7(),
      tenant_id: scope.tenant,
      ...ownedBy(scope),
      ...toColumns(fields, await databaseNow(tx)),
    })
    if (!row) {
      throw new RefusedError(
        `There is a schedule called ${fields.name} already. Change that one, or choose another name.`,
        {
          status: 409,
          code: 'schedule_exists',
        },
      )
    }
    await keepSecrets(tx, scope, row, fields)
    await note(tx, scope, { type: 'schedule.created', row })
    return row
  })
}

/** Replaces what a schedule says. It is its last editor's from then on: firings are under that one's permissions. */
export function replaceSchedule(
  scope: ScheduleScope,
  scheduleId: string,
  fields: ScheduleFields,
): Promise<ScheduleRow | undefined> {
  return inTenant(scope, async (tx) => {
    const columns = { ...toColumns(fields, await databaseNow(tx)), ...ownedBy(scope) }
    const row = await updateSchedule(tx, scheduleId, columns)
    if (!row) return undefined
    await keepSecrets(tx, scope, row, fields)
    await note(tx, scope, { type: 'schedule.changed', row })
    return row
  })
}

/** A resumed schedule goes on with the next time from now: what fell into the pause is not made up for. */
export function pauseSchedule(
  scope: ScheduleScope,
  scheduleId: string,
  paused: boolean,
): Promise<ScheduleRow | undefined> {
  return inTenant(scope, async (tx) => {
    const standing = await selectSchedule(tx, scheduleId)
    if (!standing) return undefined
    const next = nextRun(standing.cron, standing.time_zone, await databaseNow(tx), standing.start_at)
    const row = await updateSchedule(tx, scheduleId, { paused, next_run_at: next })
    if (row) await note(tx, scope, { type: paused ? 'schedule.paused' : 'schedule.resumed', row })
    return row
  })
}

/** Tasks that it fired stay. */
export function deleteSchedule(scope: ScheduleScope, scheduleId: string): Promise<boolean> {
  return inTenant(scope, async (tx) => {
    const row = await removeSchedule(tx, scheduleId)
    if (row) await note(tx, scope, { type: 'schedule.deleted', row })
    return row !== undefined
  })
}

export function findSchedule(database: Database, tenant: string, scheduleId: string): Promise<ScheduleRow | undefined> {
  return database.transaction({ role: 'sluice_api', tenant }, (tx) => selectSchedule(tx, scheduleId))
}

export function listSchedules(database: Database, tenant: string): Promise<ScheduleRow[]> {
  return database.transaction({ role: 'sluice_api', tenant }, (tx) => selectSchedules(tx, tenant))
}

/** A row as it travels. */
export function toSchedule(row: ScheduleRow): Schedule {
  return {
    schedule_id: toWireId('schedule', row.schedule_id),
    name: row.name,
    operation: row.operation,
    input: row.input,
    task: row.options,
    cron: row.cron,
    time_zone: row.time_zone,
    start_at: row.start_at?.toISOString() ?? null,
    paused: row.paused,
    missed: row.missed,
    overlap: row.overlap,
    owner: row.owner,
    next_run_at: row.paused ? null : (row.next_run_at?.toISOString() ?? null),
    last_run_at: row.last_run_at?.toISOString() ?? null,
    last_task_id: row.last_task_id && toWireId('task', row.last_task_id),
    last_outcome: row.last_outcome,
    created_at: row.created_at.toISOString(),
  }
}

const ownedBy = ({ actor, madeBy }: ScheduleScope) => ({ owner: actor, made_by: [...(madeBy ?? [])] })

function toColumns(fields: ScheduleFields, now: Date) {
  return {
    name: fields.name,
    operation: fields.operation.type,
    input: JSON.stringify(takeSecrets(fields.operation, fields.input).shown),
    options: JSON.stringify(fields.options),
    cron: fields.cron,
    time_zone: fields.timeZone,
    start_at: fields.startAt ?? null,
    paused: fields.paused,
    missed: fields.missed,
    overlap: fields.overlap,
    next_run_at: nextRun(fields.cron, fields.timeZone, now, fields.startAt),
  }
}

function keepSecrets(tx: Transaction, scope: ScheduleScope, row: ScheduleRow, fields: ScheduleFields): Promise<void> {
  const owner = { tenant: scope.tenant, id: row.schedule_id }
  return keepScheduleSecrets(tx, scope.secrets, { owner, operation: fields.operation, input: fields.input })
}

function inTenant<T>({ database, tenant }: ScheduleScope, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return database.transaction({ role: 'sluice_api', tenant }, work)
}

async function note(
  tx: Transaction,
  scope: ScheduleScope,
  { type, row }: { type: string; row: ScheduleRow },
): Promise<void> {
  const data = { schedule_id: toWireId('schedule', row.schedule_id), name: row.name, operation: row.operation }
  await appendEvent(tx, { taskId: null, type, actor: scope.actor, data })
}
