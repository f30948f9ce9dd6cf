import { describe, expect, test } from 'vitest'
import type { TaskEvent } from '../contract/event.ts'
import { eventText, statusText } from './event-text.ts'

function event(type: string, data: TaskEvent['data'] = {}): TaskEvent {
  return { id: 'e', seq: '1', type, task_id: 'task_x', actor: 'ada', at: '2026-01-01T00:00:00Z', data }
}

describe('an event in words', () => {
  test.each<[string, TaskEvent['data'], string, string | null]>([
    ['task.requested', { input: {} }, 'Requested by ada', null],
    ['task.started', { attempt: 2 }, 'Attempt 2 started', null],
    [
      'task.waiting',
      { waiting_for: { kind: 'Project', name: 'acme', reason: 'Provisioning' } },
      'Waiting until Project acme is ready',
      'Provisioning',
    ],
    ['task.waiting', { waiting_for: null }, 'Waiting', null],
    ['task.progress', { reason: 'Provisioning' }, 'Still waiting', 'Provisioning'],
    ['task.progress', { progress: { done: 2, total: 5, message: 'cloning' } }, 'Progress', '2 of 5: cloning'],
    ['task.failed', { error: { detail: 'Taken.' }, dead_lettered: true }, 'Failed: attempts used up', 'Taken.'],
    ['task.teleported', {}, 'teleported', null],
  ])('%s %j', (type, data, title, detail) => {
    expect(eventText(event(type, data))).toEqual({ title, detail })
  })

  test('a status keeps its word', () => {
    expect(statusText('AWAITING_APPROVAL')).toBe('Awaiting approval')
  })
})
