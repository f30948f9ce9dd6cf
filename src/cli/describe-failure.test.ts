import { Client } from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { CannotStartError } from './cannot-start-error.ts'
import { describeFailure, describeStack } from './describe-failure.ts'
import { UsageError } from './usage-error.ts'

async function connectError(url: string): Promise<unknown> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  return client.connect().then(
    () => client.end(),
    (error: unknown) => error,
  )
}

describe('a failure on the terminal', () => {
  test('of ours is told in its own words', () => {
    expect(describeFailure(new CannotStartError('Do this.'), undefined)).toBe('Do this.')
    expect(describeFailure(new UsageError('Not that.'), undefined)).toBe('Not that.')
    const refused = Object.assign(new Error('Too old.\nReally.'), { code: 'migration_refused' })
    expect(describeFailure(refused, undefined)).toBe('Too old.\nReally.')
  })

  test('of anything else is one line', () => {
    expect(describeFailure(new TypeError('x is not a function\nwhere'), undefined)).toBe(
      'Sluice failed: x is not a function',
    )
    expect(describeFailure(new TypeError(), undefined)).toBe('Sluice failed: TypeError')
    expect(describeFailure('text', undefined)).toBe('Sluice failed: text')
  })

  test('to reach the database names the server and never the password', async () => {
    const url = 'postgres://sluice:secret@127.0.0.1:1/sluice'
    expect(describeFailure(await connectError(url), url)).toBe(
      'The PostgreSQL of DATABASE_URL (127.0.0.1:1) cannot be reached (connect ECONNREFUSED 127.0.0.1:1).',
    )
  })

  test('of a database that is not there says so', async () => {
    const url = Object.assign(new URL(inject('postgresUrl')), { pathname: '/nowhere' })
    expect(describeFailure(await connectError(url.href), url.href)).toBe(
      `The PostgreSQL of DATABASE_URL (${url.host}) refuses the connection (database "nowhere" does not exist).`,
    )
  })

  test('shows its stack to those who ask for it', () => {
    expect(describeStack(new Error('deep'), {})).toBe('')
    expect(describeStack(new Error('deep'), { SLUICE_DEBUG: '1' })).toMatch(/^Error: deep\n {4}at /)
  })
})
