import type { NotificationKind } from '../contract/notification.ts'

/** `project.create of acme was approved by anna`, `12 changes of a batch were approved by anna`. */
export function titleOf(kind: NotificationKind, data: Readonly<Record<string, unknown>>): string {
  const text = (key: string, otherwise: string) => (typeof data[key] === 'string' ? data[key] : otherwise)
  const { items } = data
  const many = typeof items === 'number' && items !== 1
  const what = typeof items === 'number' ? itemsOf(items) : changeOf(text('operation', 'A change'), text('target', ''))
  const was = many ? 'were' : 'was'
  switch (kind) {
    case 'approval_pending': {
      // Of a later stage the actor is who completed the one before.
      const by = data['event'] === 'ticket.approved' ? 'after that of' : 'asked for by'
      return `${what} ${many ? 'wait' : 'waits'} for your approval, ${by} ${text('actor', 'somebody')}`
    }
    case 'approval_decided': {
      const approved = data['event'] === 'task.approved' || data['status'] === 'approved'
      return `${what} ${was} ${approved ? 'approved' : 'rejected'} by ${text('actor', 'somebody')}`
    }
    case 'approval_expired':
      return `${what} expired: nobody decided in time`
    case 'approval_changed':
      return typeof items === 'number'
        ? `${what} ${many ? 'need' : 'needs'} another look: ${text('explain', 'decisions so far count no more')}`
        : `${what} meets another rule since the policy changed: decisions so far count no more`
    case 'task_ended':
      return `${what} is ${text('status', 'ended')}`
    case 'batch_ended':
      return `A batch is ${text('status', 'ended')}`
    case 'dead_letter':
      return `${what} used up its attempts and is a dead letter`
    case 'schedule_skipped':
      return `The schedule ${text('name', '')} was not followed: ${text('detail', 'its owner may not ask for it any more')}`
  }
}

const itemsOf = (n: number): string => (n === 1 ? 'One change of a batch' : `${n} changes of a batch`)

function changeOf(operation: string, target: string): string {
  return target === '' ? operation : `${operation} of ${target.slice(target.lastIndexOf('/') + 1)}`
}
