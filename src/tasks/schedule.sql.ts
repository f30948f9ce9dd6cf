import { type Insertable, type Selectable, sql, type Updateable } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { SchedulesTable } from '../database/tables.ts'

export type ScheduleRow = Selectable<SchedulesTable>

/** Undefined when the tenant has one of this name. */
export function insertSchedule(
  tx: Transaction,
  row: Omit<Insertable<SchedulesTable>, 'last_run_at' | 'last_task_id' | 'last_outcome'>,
): Promise<ScheduleRow | undefined> {
  return tx
    .insertInto('schedules')
    .values({ ...row, last_run_at: null, last_task_id: null, last_outcome: null })
    .onConflict((conflict) => conflict.columns(['tenant_id', 'name']).doNothing())
    .returningAll()
    .executeTakeFirst()
}

export function updateSchedule(
  tx: Transaction,
  scheduleId: string,
  columns: Updateable<SchedulesTable>,
): Promise<ScheduleRow | undefined> {
  return tx
    .updateTable('schedules')
    .set(columns)
    .where('schedule_id', '=', scheduleId)
    .returningAll()
    .executeTakeFirst()
}

export function removeSchedule(tx: Transaction, scheduleId: string): Promise<ScheduleRow | undefined> {
  return tx.deleteFrom('schedules').where('schedule_id', '=', scheduleId).returningAll().executeTakeFirst()
}

export function selectSchedule(tx: Transaction, scheduleId: string): Promise<ScheduleRow | undefined> {
  return tx.selectFrom('schedules').selectAll().where('schedule_id', '=', scheduleId).executeTakeFirst()
}

export function selectSchedules(tx: Transaction, tenant: string): Promise<ScheduleRow[]> {
  return tx.selectFrom('schedules').selectAll().where('tenant_id', '=', tenant).orderBy('name').execute()
}

/** Of every tenant, those that are due and whose operation is one of these. */
export function selectDue(tx: Transaction, operations: readonly string[]): Promise<ScheduleRow[]> {
  return tx
    .selectFrom('schedules')
    .selectAll()
    .where('paused', '=', false)
    .where('next_run_at', '<=', sql<Date>`now()`)
    .where(sql<boolean>`operation = any(${operations})`)
    .orderBy('next_run_at')
    .limit(100)
    .execute()
}

/** Moves the next time on. False when somebody else has: whoever moves it has the firing. */
export async function takeFiring(
  tx: Transaction,
  firing: { readonly scheduleId: string; readonly due: Date; readonly now: Date; readonly next: Date | null },
): Promise<boolean> {
  const row = await tx
    .updateTable('schedules')
    .set({ next_run_at: firing.next, last_run_at: firing.now })
    .where('schedule_id', '=', firing.scheduleId)
    .where('next_run_at', '=', firing.due)
    .where('paused', '=', false)
    .returning('schedule_id')
    .executeTakeFirst()
  return row !== undefined
}

/** A task of this schedule that has not ended. */
export function selectUnderWay(tx: Transaction, schedule: ScheduleRow) {
  return tx
    .selectFrom('tasks')
    .select(['task_id', 'status'])
    .where('tenant_id', '=', schedule.tenant_id)
    .where('schedule_id', '=', schedule.schedule_id)
    .where('done', '=', false)
    .executeTakeFirst()
}

/** Schedules go by the database's clock, like everything else. */
export async function databaseNow(tx: Transaction): Promise<Date> {
  const { now } = await tx.selectNoFrom((eb) => eb.fn<Date>('clock_timestamp').as('now')).executeTakeFirstOrThrow()
  return now
}
