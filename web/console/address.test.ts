import { describe, expect, test } from 'vitest'
import { taskStatuses } from '../../src/contract/task-status.ts'
import { hrefOf, readAddress } from './address.ts'
import { viewNames, views } from './views.ts'

describe('the address of the page', () => {
  test.each([
    '/',
    '/?view=failed',
    '/?view=active&q=a%26b&task=task_x',
    '/?page=approvals&inbox=mine&ticket=ticket_x',
    '/?page=notifications&unread=',
  ])('%s is read and written alike', (href) => {
    expect(hrefOf(readAddress(href.slice(1)))).toBe(href)
  })
  test('an unknown view is the first one', () => {
    expect(readAddress('?view=constructor').view).toBe('all')
  })
})

test('every status is in exactly one view beside the one of all', () => {
  const shown = viewNames.flatMap((name) => [...(views[name].statuses ?? [])])
  expect(shown.sort()).toEqual([...taskStatuses].sort())
})
