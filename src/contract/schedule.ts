import { z } from 'zod'
import { acceptedSchema, taskOptionsSchema } from './task.ts'

/** `POST /schedules` and `PUT /schedules/{id}`. */
export const scheduleRequestSchema = z.strictObject({
  name: z.string().min(1).max(100),
  operation: z.string(),
  input: z.record(z.string(), z.unknown()),
  task: taskOptionsSchema.omit({ start_at: true }).optional(),
  cron: z.string().describe('Five fields: minute, hour, day of month, month, day of week'),
  time_zone: z.string().default('UTC').describe('IANA name, such as Europe/Berlin'),
  start_at: z.iso.datetime({ offset: true }).optional().describe('No firing before'),
  paused: z.boolean().default(false),
  missed: z
    .enum(['skip', 'run_once'])
    .default('skip')
    .describe('What becomes of a firing that nobody was there for: skipped, or made up for once'),
  overlap: z.enum(['skip', 'allow']).default('skip').describe('Whether a firing may run beside the one before'),
})
export type ScheduleRequest = z.input<typeof scheduleRequestSchema>

/** A change that is asked for again and again. */
export const scheduleSchema = z.object({
  schedule_id: z.string(),
  name: z.string(),
  operation: z.string(),
  input: z.record(z.string(), z.unknown()),
  task: z.record(z.string(), z.unknown()),
  cron: z.string(),
  time_zone: z.string(),
  start_at: z.string().nullable(),
  paused: z.boolean(),
  missed: z.enum(['skip', 'run_once']),
  overlap: z.enum(['skip', 'allow']),
  owner: z.string(),
  next_run_at: z.string().nullable(),
  last_run_at: z.string().nullable(),
  last_task_id: z.string().nullable(),
  last_outcome: z.string().nullable().describe('What the last firing led to, as a sentence'),
  created_at: z.string(),
})
export type Schedule = z.infer<typeof scheduleSchema>

export const schedulePageSchema = z.object({ items: z.array(scheduleSchema), next_page_token: z.null() })

export const runNowSchema = acceptedSchema
