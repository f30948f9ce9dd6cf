import { AsyncLocalStorage } from 'node:async_hooks'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { createSignalListener, createSignalSender, type SignalListener } from './signals.ts'

const fail = (error: Error): never => {
  throw error
}

describe('signals', () => {
  let pool: Pool
  let here: SignalListener
  let elsewhere: SignalListener

  beforeAll(async () => {
    const { url } = await createTestDatabase()
    pool = new Pool({ connectionString: url, max: 2 })
    here = createSignalListener({ url, onError: fail })
    elsewhere = createSignalListener({ url, onError: fail })
    await Promise.all([here.start(), elsewhere.start()])
  })
  afterAll(async () => {
    await Promise.all([here.stop(), elsewhere.stop()])
    await pool.end()
  })

  test('the process that sends one hears it at once and only once, the others over the database', async () => {
    const heard = { here: 0, elsewhere: 0 }
    here.on('long', () => heard.here++)
    elsewhere.on('long', () => heard.elsewhere++)
    const fence = new Promise<void>((resolve) => here.on('dead', resolve))
    const sender = createSignalSender(pool, fail, here)

    sender.send('long')
    expect(heard).toEqual({ here: 1, elsewhere: 0 })
    await sender.stop()
    // Notifications arrive in the order of their commits: behind this one, the first has come back.
    createSignalSender(pool, fail).send('dead')
    await fence

    await expect.poll(() => heard.elsewhere).toBe(1)
    expect(heard.here).toBe(1)
  })

  test('what it sets off does not run in the name of who sent it', () => {
    const request = new AsyncLocalStorage<string>()
    let name: string | undefined = 'never called'
    here.on('clusters', () => (name = request.getStore()))

    request.run('of a caller', () => here.hear(['clusters']))

    expect(name).toBeUndefined()
  })
})
