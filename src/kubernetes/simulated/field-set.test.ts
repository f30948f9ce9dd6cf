import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FieldSet, pathText } from './field-set.ts'

const step = fc.constantFrom('f:spec', 'f:a', 'f:b', 'k:{"name":"x"}', 'v:"one"')
const paths = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 8 })

function setOf(all: readonly (readonly string[])[]): FieldSet {
  const set = new FieldSet()
  for (const path of all) set.insert(path)
  return set
}

describe('FieldsV1', () => {
  test('is read and written without loss', () => {
    const fields = {
      'f:metadata': { 'f:labels': { '.': {}, 'f:app': {} } },
      'f:spec': { 'f:parts': { 'k:{"name":"x"}': { '.': {}, 'f:count': {} } } },
    }
    const set = FieldSet.fromFieldsV1(fields)
    expect(set.toFieldsV1()).toEqual(fields)
    expect(set.has(['f:metadata', 'f:labels'])).toBe(true)
    expect(set.has(['f:spec'])).toBe(false)
  })

  test('any set survives the way through FieldsV1', () => {
    fc.assert(
      fc.property(paths, (all) => {
        const set = setOf(all)
        expect(FieldSet.fromFieldsV1(set.toFieldsV1()).equals(set)).toBe(true)
      }),
    )
  })
})

describe('set operations', () => {
  test('a union less its second part is the first part less the second', () => {
    fc.assert(
      fc.property(paths, paths, (left, right) => {
        const [a, b] = [setOf(left), setOf(right)]
        expect(a.union(b).minus(b).equals(a.minus(b))).toBe(true)
      }),
    )
  })

  test('what two sets share and what only one has make up that one', () => {
    fc.assert(
      fc.property(paths, paths, (left, right) => {
        const [a, b] = [setOf(left), setOf(right)]
        expect(a.intersect(b).union(a.minus(b)).equals(a)).toBe(true)
      }),
    )
  })

  test('minus takes the very paths, minusTree all that is below them', () => {
    const set = setOf([['f:spec', 'f:a'], ['f:spec', 'f:a', 'f:b'], ['f:b']])
    const taken = setOf([['f:spec', 'f:a']])
    expect(set.minus(taken).paths()).toEqual([['f:b'], ['f:spec', 'f:a', 'f:b']])
    expect(set.minusTree(taken).paths()).toEqual([['f:b']])
  })
})

test('paths read as the API server writes them', () => {
  const path = ['f:spec', 'f:ports', 'k:{"port":80,"protocol":"TCP"}', 'f:name']
  expect(pathText(path)).toBe('.spec.ports[port=80,protocol="TCP"].name')
  expect(pathText(['f:spec', 'f:tags', 'v:"x"'])).toBe('.spec.tags[="x"]')
})
