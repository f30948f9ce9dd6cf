import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { openApiDocument } from '../../scripts/openapi-document.ts'
import { builtInOperations } from '../operations/registry.ts'

const routeSchema = z.looseObject({
  summary: z.string(),
  parameters: z.array(z.object({ name: z.string(), in: z.string(), required: z.boolean().optional() })).default([]),
  requestBody: z
    .object({
      required: z.boolean(),
      content: z.object({
        'application/json': z.object({
          schema: z.looseObject({ properties: z.record(z.string(), z.unknown()).default({}) }),
        }),
      }),
    })
    .optional(),
  responses: z.record(z.string(), z.unknown()),
})
const documentSchema = z.object({
  openapi: z.string(),
  paths: z.record(z.string(), z.record(z.string(), routeSchema)),
})

const document = documentSchema.parse(JSON.parse(await openApiDocument()))
const changes = builtInOperations.flatMap(({ type, route, input }) => (route ? [{ type, route, input }] : []))
const routeOf = ({ path, method }: { path: string; method: string }) =>
  document.paths[`/api/v1${path.replaceAll(/:(\w+)/g, '{$1}')}`]?.[method.toLowerCase()]

describe('the OpenAPI document', () => {
  test('is of version 3.1', () => {
    expect(document.openapi).toBe('3.1.0')
  })

  test.each(changes)('has the route of $type, with every field of its input', ({ route, input }) => {
    const described = routeOf(route)
    const fields = [
      ...(described?.parameters ?? []).map(({ name }) => name),
      ...Object.keys(described?.requestBody?.content['application/json'].schema.properties ?? {}),
    ]
    expect(fields).toEqual(expect.arrayContaining(Object.keys(input.shape)))
    expect(described?.responses).toHaveProperty('202')
  })

  test('says which bodies may be left out', () => {
    const required = (path: string, method: string) => routeOf({ path, method })?.requestBody?.required
    expect(required('/vms', 'POST')).toBe(true)
    expect(required('/vms/:namespace/:name/stop', 'POST')).toBe(false)
    expect(required('/vms/:namespace/:name', 'DELETE')).toBe(false)
  })

  test('gives every route a summary, and an answer that is not an error', () => {
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, route]) => ({ name: `${method} ${path}`, route })),
    )
    expect(routes.length).toBeGreaterThan(10)
    const bare = routes.filter(
      ({ route }) => !route.summary || !Object.keys(route.responses).some((code) => code < '4'),
    )
    expect(bare.map(({ name }) => name)).toEqual([])
  })
})
