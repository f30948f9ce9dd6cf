import { describe, expect, test } from 'vitest'
import { checkExpression, evaluateExpression } from './readiness-expression.ts'

const object = {
  spec: { replicas: 3 },
  status: {
    replicas: 3,
    ratio: 0.5,
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'True' }],
    items: ['a', 'b'],
  },
}

describe('readiness expressions', () => {
  test.each([
    ['object.status.replicas == 3', true],
    ['object.status.replicas + 1 == 4', true],
    ['object.status.replicas >= object.spec.replicas', true],
    ['object.status.ratio < 0.6', true],
    ['object.status.conditions.exists(c, c.type == "Ready" && c.status == "True")', true],
    ['has(object.status.missing) && object.status.missing == 1', false],
    ['object.?status.?missing.orValue(0) == 0', true],
    ['object.status.phase in ["Running", "Succeeded"]', true],
    ['size(object.status.items) == 2', true],
    ['object.status.phase.startsWith("Run")', true],
  ])('%s', (expression, value) => {
    expect(checkExpression(expression)).toBeUndefined()
    expect(evaluateExpression(expression, object)).toEqual({ value })
  })

  test.each([
    ['a missing field', 'object.status.nope == 1'],
    ['no boolean', 'object.status.phase'],
    ['the prototype', 'object.constructor == 1'],
  ])('%s is a problem, not an exception', (_, expression) => {
    expect(evaluateExpression(expression, object)).toHaveProperty('problem')
  })

  test.each([
    ['a syntax error', 'object.status.phase =='],
    ['an unknown variable', 'process.env == 1'],
    ['a pattern that may run for ever', 'object.status.phase.matches("^(a+)+$")'],
    ['lists walked three deep', '[1].all(a, [1].all(b, [1].all(c, a == b && b == c)))'],
    ['a program', Array.from({ length: 400 }, (_, i) => `object.a == ${i}`).join(' || ')],
  ])('%s is refused before anything is accepted', (_, expression) => {
    expect(checkExpression(expression)).toEqual(expect.any(String))
    expect(evaluateExpression(expression, object)).toHaveProperty('problem')
  })

  test('a list of thousands is not walked', () => {
    const large = { items: Array.from({ length: 5000 }, (_, i) => i) }
    expect(evaluateExpression('object.items.all(a, object.items.all(b, a == b))', large)).toHaveProperty('problem')
  })
})
