import { z } from 'zod'
import { fromWireId } from '../../contract/ids.ts'
import { readAsTenant } from '../../database/read-as-tenant.ts'
import { openInput } from '../../tasks/secret-input.ts'
import { runNowSchema, schedulePageSchema, scheduleRequestSchema, scheduleSchema } from '../../contract/schedule.ts'
import {
  createSchedule,
  deleteSchedule,
  findSchedule,
  listSchedules,
  pauseSchedule,
  replaceSchedule,
  type ScheduleScope,
  toSchedule,
} from '../../tasks/schedule.ts'
import type { ScheduleRow } from '../../tasks/schedule.sql.ts'
import type { App } from '../app.ts'
import type { Caller } from '../../identity/principal.ts'
import { standingOf } from '../../identity/standing.ts'
import { authorise } from '../authorise.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'
import { refuseOutside } from '../explain-policy.ts'
import { clusterCheck, toAnswer } from '../submit.ts'
import { findOperation } from './operations.ts'

const params = z.object({ schedule_id: z.string() })

/** Changes that are asked for again and again. Writes are synchronous: a schedule touches nothing outside. */
export function scheduleRoutes(app: App, services: Services): void {
  const { database } = services
  const find = async (caller: Caller, wireId: string): Promise<ScheduleRow> => {
    const schedule = await findSchedule(database, caller.tenant, idOf(wireId))
    if (!schedule) throw noSuchSchedule(wireId)
    return schedule
  }
  /** The schedule, when it is the caller's to change. */
  const own = async (caller: Caller, wireId: string): Promise<ScheduleRow> => {
    const schedule = await find(caller, wireId)
    if (schedule.owner === caller.principal.name || caller.permissions.has('schedules.operate')) return schedule
    throw new HttpProblem('forbidden', {
      detail: `Only ${schedule.owner}, who owns the schedule, or who has the permission schedules.operate may change it.`,
    })
  }

  app.get(
    '/schedules',
    {
      config: { permission: 'schedules.read' },
      schema: { summary: 'List schedules', response: { 200: schedulePageSchema } },
    },
    async (request) => ({
      items: (await listSchedules(database, callerOf(request).tenant)).map(toSchedule),
      next_page_token: null,
    }),
  )
  app.get(
    '/schedules/:schedule_id',
    {
      config: { permission: 'schedules.read' },
      schema: { summary: 'One schedule', params, response: { 200: scheduleSchema } },
    },
    async (request) => toSchedule(await find(callerOf(request), request.params.schedule_id)),
  )
  app.post(
    '/schedules',
    {
      config: { permission: 'schedules.write' },
      schema: { summary: 'Make a schedule', body: scheduleRequestSchema, response: { 201: scheduleSchema } },
    },
    async (request, reply) => {
      const row = await createSchedule(
        scopeOf(services, callerOf(request)),
        await toFields(services, callerOf(request), request.body),
      )
      return reply.status(201).send(toSchedule(row))
    },
  )
  app.put(
    '/schedules/:schedule_id',
    {
      config: { permission: 'schedules.write' },
      schema: { summary: 'Replace a schedule', params, body: scheduleRequestSchema, response: { 200: scheduleSchema } },
    },
    async (request) => {
      const caller = callerOf(request)
      const { schedule_id: id } = await own(caller, request.params.schedule_id)
      const fields = await toFields(services, caller, request.body)
      const row = await replaceSchedule(scopeOf(services, caller), id, fields)
      if (!row) throw noSuchSchedule(request.params.schedule_id)
      return toSchedule(row)
    },
  )
  for (const verb of ['pause', 'resume'] as const) {
    app.post(
      `/schedules/:schedule_id/${verb}`,
      {
        config: { permission: 'schedules.write' },
        schema: {
          summary: `${verb === 'pause' ? 'Pause' : 'Resume'} a schedule`,
          params,
          response: { 200: scheduleSchema },
        },
      },
      async (request) => {
        const caller = callerOf(request)
        const { schedule_id: id } = await own(caller, request.params.schedule_id)
        if (verb === 'resume') mayAsk(caller)
        const row = await pauseSchedule(scopeOf(services, caller), id, verb === 'pause')
        if (!row) throw noSuchSchedule(request.params.schedule_id)
        return toSchedule(row)
      },
    )
  }
  app.post(
    '/schedules/:schedule_id/run',
    {
      config: { permission: 'schedules.write' },
      schema: { summary: 'Ask for the change now, beside the schedule', params, response: { 202: runNowSchema } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const schedule = await own(caller, request.params.schedule_id)
      mayAsk(caller)
      const { operation, input: shown } = findOperation(services, schedule)
      const kept = { owner: { tenant: caller.tenant, id: schedule.schedule_id }, operation, input: shown }
      const input = await readAsTenant(database, caller.tenant, (tx) => openInput(tx, services.secrets, kept))
      const accepted = await services.acceptor.accept({
        operation,
        input,
        options: schedule.options,
        tenant: caller.tenant,
        actor: caller.principal.name,
        ...standingOf(caller.principal),
        scheduleId: schedule.schedule_id,
      })
      const answer = toAnswer(accepted, operation.type)
      void reply.header('location', answer.links.self)
      return reply.status(202).send(answer)
    },
  )
  app.delete(
    '/schedules/:schedule_id',
    {
      config: { permission: 'schedules.write' },
      schema: { summary: 'Delete a schedule; its tasks stay', params, response: { 204: z.null() } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { schedule_id: id } = await own(caller, request.params.schedule_id)
      await deleteSchedule(scopeOf(services, caller), id)
      return reply.status(204).send(null)
    },
  )
}

async function toFields(services: Services, caller: Caller, body: z.output<typeof scheduleRequestSchema>) {
  mayAsk(caller)
  const { operation, input } = findOperation(services, body)
  await clusterCheck(services, caller.tenant)({ operation, input })
  await refuseOutside(services, { operation, input, caller })
  return {
    name: body.name,
    operation,
    input,
    options: body.task ?? {},
    cron: body.cron,
    timeZone: body.time_zone,
    startAt: body.start_at === undefined ? undefined : new Date(body.start_at),
    paused: body.paused,
    missed: body.missed,
    overlap: body.overlap,
  }
}

// A schedule asks for changes: who makes, changes, resumes or runs one must be allowed to ask for them.
function mayAsk(caller: Caller): void {
  authorise(caller, 'tasks.request')
}

function scopeOf(services: Services, { principal, tenant }: Caller): ScheduleScope {
  return {
    database: services.database,
    tenant,
    actor: principal.name,
    madeBy: principal.madeBy,
    secrets: services.secrets,
  }
}

function idOf(wireId: string): string {
  const id = fromWireId('schedule', wireId)
  if (id === undefined) throw noSuchSchedule(wireId)
  return id
}

function noSuchSchedule(wireId: string): HttpProblem {
  return new HttpProblem('not_found', { detail: `There is no schedule ${wireId}.` })
}
