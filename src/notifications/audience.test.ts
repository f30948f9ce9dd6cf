import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import type { NotificationKind } from '../contract/notification.ts'
import { createDatabase, type Database } from '../database/database.ts'
import type { Principal } from '../identity/principal.ts'
import { audiencesOf } from './audience.ts'
import { countUnread, listNotifications } from './inbox.ts'

let database: Database
beforeAll(async () => {
  database = createDatabase({ url: (await createTestDatabase()).url, poolMax: 2, poolMin: 0 })
  const tell = (kind: NotificationKind, recipient: string, environment: string | null) =>
    database.pool.query(
      `insert into sluice.notifications (seq, tenant_id, kind, recipients, environment, data, dispatched_at)
        select coalesce(max(seq), 0) + 1, 'acme', $1, array['acme/' || $2], $3::text,
          jsonb_build_object('is', $1 || ' ' || $2 || ' ' || coalesce($3, 'anywhere')), now() from sluice.notifications`,
      [kind, recipient, environment],
    )
  for (const place of ['prod', 'test']) {
    await tell('approval_pending', 'role:approver', place)
    await tell('approval_pending', 'role:operator', place)
    await tell('approval_changed', 'group:platform', place)
    await tell('dead_letter', 'role:operator', place)
  }
  await tell('approval_changed', 'principal:p', 'prod')
  await tell('task_ended', 'principal:p', null)
})
afterAll(() => database.stop())

async function hears(person: Partial<Principal>): Promise<unknown[]> {
  const reader = {
    tenant: 'acme',
    name: 'p',
    audiences: audiencesOf('acme', { name: 'p', tenants: ['acme'], roles: [], ...person }),
  }
  const items = await listNotifications(database, reader, { unread: false, limit: 100 })
  expect(await countUnread(database, reader)).toBe(items.length)
  return items.map(({ data }) => data['is']).toReversed()
}

const own = ['approval_changed principal:p prod', 'task_ended principal:p anywhere']

describe('who hears of what waits: those who may decide it, where they may', () => {
  test.each<[string, Partial<Principal>, string[]]>([
    ['no role that decides', { roles: ['requester'], groups: ['platform'] }, []],
    [
      'an approver',
      { roles: ['approver'] },
      ['approval_pending role:approver prod', 'approval_pending role:approver test'],
    ],
    [
      'an approver in test',
      { roles: ['approver'], limits: { approver: ['test'] } },
      ['approval_pending role:approver test'],
    ],
    ['an approver nowhere', { roles: ['approver'], limits: { approver: [] } }, []],
    [
      'an approver in prod of a group',
      { roles: ['approver'], groups: ['platform'], limits: { approver: ['prod'] } },
      ['approval_pending role:approver prod', 'approval_changed group:platform prod'],
    ],
    ['an operator', { roles: ['operator'] }, ['dead_letter role:operator prod', 'dead_letter role:operator test']],
    [
      'an operator in test',
      { roles: ['operator'], limits: { operator: ['test'] } },
      ['dead_letter role:operator test'],
    ],
    [
      'an operator in test who decides in prod',
      { roles: ['operator', 'approver'], limits: { operator: ['test'], approver: ['prod'] } },
      ['approval_pending role:approver prod', 'dead_letter role:operator test'],
    ],
    [
      'an operator in test who decides everywhere',
      { roles: ['operator', 'approver'], limits: { operator: ['test'] } },
      [
        'approval_pending role:approver prod',
        'approval_pending role:approver test',
        'approval_pending role:operator test',
        'dead_letter role:operator test',
      ],
    ],
  ])('%s', async (_, person, expected) => {
    expect(await hears(person)).toEqual([...expected, ...own])
  })
})
