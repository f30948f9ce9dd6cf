import { describe, expect, test } from 'vitest'
import { checkRules, ruleProblem } from './cel-rules.ts'
import { findDuplicateMembers } from './duplicate-members.ts'
import { findPath, JsonPathError, parsePath } from './json-path.ts'
import type { Json } from './json.ts'
import type { Schema } from './schema.ts'
import { applyDefaults, dropUnallowedNulls, pruneUnknown } from './schema-pruning.ts'
import { validateValue } from './schema-validation.ts'

function messages(value: Json, schema: Schema): readonly string[] {
  return validateValue(value, schema, 'spec').map(({ field, message }) => `${field}: ${message}`)
}

describe('validation in the words of the API server', () => {
  const examples: readonly (readonly [Json, Schema, string])[] = [
    ['x', { type: 'integer' }, 'spec: Invalid value: "string": spec in body must be of type integer: "string"'],
    [null, { type: 'string' }, 'spec: Invalid value: "null": spec in body must be of type string: "null"'],
    [11, { type: 'integer', maximum: 10 }, 'spec: Invalid value: 11: spec in body should be less than or equal to 10'],
    ['blue', { type: 'string', enum: ['red'] }, 'spec: Unsupported value: "blue": supported values: "red"'],
    [
      'Ab',
      { type: 'string', pattern: '^[a-z]+$' },
      'spec: Invalid value: "Ab": spec in body should match \'^[a-z]+$\'',
    ],
    ['abc', { type: 'string', maxLength: 2 }, 'spec: Too long: may not be more than 2 bytes'],
    [
      ['a', 'a'],
      { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
      'spec[1]: Duplicate value: "a"',
    ],
    [{}, { type: 'object', required: ['a'] }, 'spec.a: Required value'],
    [
      true,
      { 'x-kubernetes-int-or-string': true },
      'spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean"',
    ],
    [
      'no',
      { type: 'string', format: 'date-time' },
      'spec: Invalid value: "no": spec in body must be of type date-time: "no"',
    ],
    [
      'a',
      { type: 'string', anyOf: [{ minLength: 2 }, { pattern: '^b' }] },
      'spec: Invalid value: "a": spec in body must validate at least one schema (anyOf)',
    ],
  ]
  test.each(examples)('%j against %j', (value, schema, message) => {
    expect(messages(value, schema)).toEqual([message])
  })

  test('what fits has nothing against it', () => {
    expect(messages(null, { type: 'string', nullable: true })).toEqual([])
    expect(messages('50%', { 'x-kubernetes-int-or-string': true })).toEqual([])
    expect(messages('ÄÖ', { type: 'string', maxLength: 2 })).toEqual([])
    expect(messages({ any: ['thing'] }, { type: 'object', 'x-kubernetes-preserve-unknown-fields': true })).toEqual([])
  })
})

test('unknown members go, defaults come, nulls that are not allowed count as absent', () => {
  const schema: Schema = {
    type: 'object',
    properties: {
      kept: { type: 'string', nullable: true },
      filled: { type: 'string', default: 'yes' },
      list: { type: 'array', items: { type: 'object', properties: { a: { type: 'integer', default: 1 } } } },
    },
  }
  const value: Json = { kept: null, filled: null, list: [{ b: 2 }], other: 1 }
  dropUnallowedNulls(value, schema)
  expect(pruneUnknown(value, schema)).toEqual(['list[0].b', 'other'])
  applyDefaults(value, schema)
  expect(value).toEqual({ kept: null, filled: 'yes', list: [{ a: 1 }] })
})

describe('expressions', () => {
  const schema: Schema = {
    type: 'object',
    properties: {
      count: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self >= oldSelf', message: 'only grows' }] },
      name: {
        type: 'string',
        'x-kubernetes-validations': [{ rule: 'self.startsWith("x")', messageExpression: '"not " + self' }],
      },
    },
  }

  test('integers are integers, rules on oldSelf wait for an update', () => {
    expect(checkRules({ count: 1 }, schema, undefined)).toEqual([])
    expect(checkRules({ count: 1 }, schema, { count: 1 })).toEqual([])
    expect(checkRules({ count: 1 }, schema, { count: 2 })).toEqual([
      { reason: 'FieldValueInvalid', field: 'count', message: 'Invalid value: 1: only grows' },
    ])
  })

  test('messageExpression makes the message', () => {
    expect(checkRules({ name: 'y' }, schema, undefined)[0]?.message).toBe('Invalid value: "y": not y')
  })

  test('what does not compile is named', () => {
    expect(ruleProblem('self.size() > 1')).toBeUndefined()
    expect(ruleProblem('self.')).toMatch(/Expected/)
    expect(ruleProblem('nobody.knows')).toBeDefined()
  })
})

describe('JSON paths', () => {
  const value: Json = {
    a: { 'x.y': 1 },
    items: [
      { type: 'Ready', status: 'True' },
      { type: 'Other', status: 'False' },
    ],
  }
  test.each([
    ['.a.x\\.y', [1]],
    ["['a']['x.y']", [1]],
    ['.items[0].type', ['Ready']],
    ['.items[*].status', ['True', 'False']],
    ['.items[?(@.type=="Other")].status', ['False']],
    ['.missing.deep', []],
  ])('%s', (path, found) => {
    expect(findPath(value, path)).toEqual(found)
  })

  test('a path that is not understood is refused', () => {
    expect(() => parsePath('.a[?(@.b > 1)]')).toThrow(JsonPathError)
    expect(() => parsePath('..a')).toThrow(JsonPathError)
  })
})

test('members named twice are found at any depth, in objects only', () => {
  expect(findDuplicateMembers('{"a":1,"b":{"c":1,"d":[{"e":1},{"e":1,"e":2}],"c":2},"a":2}')).toEqual([
    'b.d[1].e',
    'b.c',
    'a',
  ])
  expect(findDuplicateMembers('{"a":["a","a"],"b":"a:\\"a\\",{}"}')).toEqual([])
})
