import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { migrate } from '../queue/migrate.ts'

const login = `migrator_${randomUUID().slice(0, 8)}`
let administrator: Client
let url: string
beforeAll(async () => {
  administrator = new Client({ connectionString: inject('postgresUrl') })
  await administrator.connect()
  // The roles of this server, which other databases share, exist already.
  await administrator.query(`create role ${login} login password 'migrator' nocreaterole`)
  await administrator.query(`create database ${login} owner ${login}`)
  const address = new URL(inject('postgresUrl'))
  address.username = login
  address.password = 'migrator'
  address.pathname = `/${login}`
  url = address.href
})
afterAll(async () => {
  await administrator.query(`drop database if exists ${login} with (force)`)
  await administrator.query(`drop role ${login}`)
  await administrator.end()
})

test('who may not create roles is given the SQL for an administrator, and migrates once that has run', async () => {
  const error = await migrate(url).then(
    () => undefined,
    (failure: unknown) => failure,
  )
  const text = error instanceof Error ? error.message : ''
  expect(text).toContain(`The user "${login}" may not create the roles that Sluice needs.`)
  const [, ...statements] = text.split('\n')
  expect(statements.at(-1)).toBe(`grant sluice_api, sluice_worker, sluice_feed, sluice_retention to "${login}";`)
  await administrator.query(statements.join('\n'))
  expect(await migrate(url)).toContain('0020-identity.sql')
  expect(await migrate(url)).toEqual([])
})
