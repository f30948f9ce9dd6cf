import Fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import { requirePermission } from './authorise.ts'

describe('every route says who may call it', () => {
  const start = (config: object) => {
    const app = Fastify()
    app.addHook('onRoute', requirePermission)
    app.get('/things', { config }, () => 'things')
    return app
  }

  test('a route without a permission does not start', () => {
    expect(() => start({})).toThrow('GET /things does not say who may call it')
  })

  test('a route with one does, and so does the HEAD that comes with it', async () => {
    const app = start({ permission: 'tasks.read' })
    expect((await app.inject({ method: 'HEAD', url: '/things' })).statusCode).toBe(200)
  })
})
