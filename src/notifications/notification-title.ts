import type { NotificationKind } from '../contract/notification.ts'

/** `project.create of acme was approved by anna`. */
export function titleOf(kind: NotificationKind, data: Readonly<Record<string, unknown>>): string {
  const text = (key: string, otherwise: string) => (typeof data[key] === 'string' ? data[key] : otherwise)
  const target = text('target', '')
  const name = target === '' ? '' : ` of ${target.slice(target.lastIndexOf('/') + 1)}`
  const what = `${text('operation', 'A change')}${name}`
  switch (kind) {
    case 'approval_pending':
      return `${what} waits for your approval, asked for by ${text('actor', 'somebody')}`
    case 'approval_decided':
      return `${what} was ${data['event'] === 'task.approved' ? 'approved' : 'rejected'} by ${text('actor', 'somebody')}`
    case 'approval_expired':
      return `${what} expired: nobody decided in time`
    case 'approval_changed':
      return `${what} meets another rule since the policy changed: decisions so far count no more`
    case 'task_ended':
      return `${what} is ${text('status', 'ended')}`
    case 'batch_ended':
      return `A batch is ${text('status', 'ended')}`
    case 'dead_letter':
      return `${what} used up its attempts and is a dead letter`
  }
}
