import { z } from 'zod'

/** Every type of event a task's timeline can hold; exactly one terminal event per task. */
export const eventTypes = [
  'task.requested',
  'task.joined',
  'task.regated',
  'task.approved',
  'task.rejected',
  'task.expired',
  'task.started',
  'task.waiting',
  'task.progress',
  'task.retrying',
  'task.cancel_requested',
  'task.completed',
  'task.failed',
  'task.timed_out',
  'task.cancelled',
] as const
export type EventType = (typeof eventTypes)[number]

/** A row of the log as it travels. `seq` is the cursor: pass it back to miss and repeat nothing. */
export const eventSchema = z.object({
  id: z.string(),
  seq: z.string().regex(/^\d+$/).describe('64-bit cursor, as a decimal string'),
  type: z.string(),
  task_id: z.string().nullable(),
  actor: z.string(),
  at: z.string(),
  data: z.record(z.string(), z.unknown()),
})
export type TaskEvent = z.infer<typeof eventSchema>

export const eventPageSchema = z.object({ items: z.array(eventSchema), next_page_token: z.string().nullable() })

const terminalEvents: readonly string[] = [
  'task.rejected',
  'task.expired',
  'task.completed',
  'task.failed',
  'task.timed_out',
  'task.cancelled',
] satisfies readonly EventType[]

/** After such an event a task's timeline has ended. */
export function isTerminalEvent(type: string): boolean {
  return terminalEvents.includes(type)
}
