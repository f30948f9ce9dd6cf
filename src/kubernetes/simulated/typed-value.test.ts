import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cloneJson, type Json } from './json.ts'
import { list, listMap, object, setOf, string, stringMap, type Schema } from './schema.ts'
import { compareValues, fieldsOf, mergeValues, removeFields } from './typed-value.ts'

const schema: Schema = object({
  size: { type: 'integer' },
  settings: stringMap,
  tags: setOf(string),
  words: list(string),
  parts: listMap(['name'], object({ name: string, count: { type: 'integer' } }, ['name'])),
})

const names = fc.constantFrom('a', 'b', 'c', 'd')
const value: fc.Arbitrary<Json> = fc
  .record(
    {
      size: fc.integer({ min: 0, max: 3 }),
      settings: fc.dictionary(names, names, { maxKeys: 3 }),
      tags: fc.uniqueArray(names),
      words: fc.array(names, { maxLength: 3 }),
      parts: fc.uniqueArray(fc.record({ name: names, count: fc.integer({ min: 0, max: 2 }) }), {
        selector: ({ name }) => name,
      }),
    },
    { requiredKeys: [] },
  )
  // The generator makes prototype-less objects; the store holds plain ones.
  .map((made) => cloneJson(JSON.parse(JSON.stringify(made)) as Json))

describe('merging', () => {
  test('a value merged with itself is itself', () => {
    fc.assert(
      fc.property(value, (one) => {
        expect(mergeValues(one, one, schema)).toEqual(one)
      }),
    )
  })

  test('after a merge, what the configuration states is there, and stating it again changes nothing', () => {
    fc.assert(
      fc.property(value, value, (live, config) => {
        const merged = mergeValues(live, config, schema)
        expect(mergeValues(merged, config, schema)).toEqual(merged)
        const { added, modified } = compareValues(merged, mergeValues(merged, config, schema), schema)
        expect(added.isEmpty() && modified.isEmpty()).toBe(true)
      }),
    )
  })

  test('items of the live list keep their place, new ones follow in the order of the configuration', () => {
    const live = { parts: [{ name: 'x' }, { name: 'a', count: 1 }, { name: 'y' }] }
    const config = { parts: [{ name: 'a', count: 2 }, { name: 'new' }] }
    expect(mergeValues(live, config, schema)).toEqual({
      parts: [{ name: 'x' }, { name: 'a', count: 2 }, { name: 'new' }, { name: 'y' }],
    })
  })
})

describe('comparing', () => {
  test('says added, modified and removed, item by item where items have keys', () => {
    const before = { size: 1, parts: [{ name: 'a', count: 1 }, { name: 'b' }], words: ['x'] }
    const after = { size: 2, parts: [{ name: 'a', count: 1 }, { name: 'c' }], words: ['y'] }
    const { added, modified, removed } = compareValues(before, after, schema)
    expect(added.paths()).toEqual([
      ['f:parts', 'k:{"name":"c"}'],
      ['f:parts', 'k:{"name":"c"}', 'f:name'],
    ])
    expect(modified.paths()).toEqual([['f:size'], ['f:words']])
    expect(removed.paths()).toContainEqual(['f:parts', 'k:{"name":"b"}'])
  })

  test('equal values have no difference', () => {
    fc.assert(
      fc.property(value, (one) => {
        const { added, modified, removed } = compareValues(one, cloneJson(one), schema)
        expect([added, modified, removed].every((set) => set.isEmpty())).toBe(true)
      }),
    )
  })
})

describe('removing', () => {
  test('what a value states and nothing else is removed with its fields', () => {
    fc.assert(
      fc.property(value, (one) => {
        const { set, errors } = fieldsOf(one, schema)
        expect(errors).toEqual([])
        const left = removeFields(one, set, schema)
        const rest = left === undefined ? [] : fieldsOf(left, schema).set.paths()
        expect(rest).toEqual([])
      }),
    )
  })
})

describe('typing', () => {
  test('names undeclared fields, wrong types, duplicates and items without a key', () => {
    const { errors } = fieldsOf({ sizes: 1, size: 'big', parts: [{ name: 'a' }, { name: 'a' }, { count: 1 }] }, schema)
    expect(errors).toEqual([
      '.sizes: field not declared in schema',
      '.size: expected numeric (int or float), got "big"',
      '.parts: duplicate entries for key [name="a"]',
      '.parts: element 2: associative list with keys has an element that omits key field "name" (and doesn\'t have default value)',
    ])
  })
})
