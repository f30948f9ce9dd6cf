import type { TaskEvent } from '../contract/event.ts'
import { toWireId } from '../contract/ids.ts'
import type { CloudEvent } from '../contract/live.ts'
import type { Notification } from '../contract/notification.ts'
import type { LoggedEvent } from './feed.sql.ts'

/** A row of the log as it travels. Where its request came from (address, token) is for the audit alone. */
export function toWireEvent(event: LoggedEvent): TaskEvent {
  const { source: _source, ...data } = event.payload
  return {
    id: event.eventId,
    seq: event.seq.toString(),
    type: event.type,
    task_id: event.taskId && toWireId('task', event.taskId),
    actor: event.actor,
    at: event.at.toISOString(),
    data,
  }
}

/** The same as a CloudEvents 1.0 envelope; the cursor resumes after it. */
export function toCloudEvent(event: LoggedEvent): CloudEvent {
  const data = toWireEvent(event)
  return {
    specversion: '1.0',
    id: data.id,
    source: `/tenants/${event.tenant}`,
    type: event.type,
    ...(data.task_id !== null && { subject: data.task_id }),
    time: data.at,
    datacontenttype: 'application/json',
    cursor: data.seq,
    ...(typeof event.payload['traceparent'] === 'string' && { traceparent: event.payload['traceparent'] }),
    data,
  }
}

/** A notification in the same envelope. */
export function toNotificationEvent(tenant: string, notification: Notification): CloudEvent {
  const { notification_id: id, seq, task_id: taskId, created_at: at, data } = notification
  const type = 'notification.created'
  return {
    specversion: '1.0',
    id,
    source: `/tenants/${tenant}`,
    type,
    ...(taskId !== null && { subject: taskId }),
    time: at,
    datacontenttype: 'application/json',
    cursor: seq,
    data: {
      id,
      seq,
      type,
      task_id: taskId,
      actor: typeof data['actor'] === 'string' ? data['actor'] : '',
      at,
      data: { ...notification },
    },
  }
}
