import { describe, expect, test } from 'vitest'
import { parseInput, parseLabels } from './key-values.ts'

describe('an input on the command line', () => {
  test.each<[string, unknown]>([
    ['a=text', { a: 'text' }],
    ['a=', { a: '' }],
    ['a=2', { a: 2 }],
    ['a=-1.5e3', { a: -1500 }],
    ['a=true', { a: true }],
    ['a=false', { a: false }],
    ['a=null', { a: 'null' }],
    ['a=007', { a: '007' }],
    ['a=12345678901234567890', { a: '12345678901234567890' }],
    ['a=b=c', { a: 'b=c' }],
    ['a:="2024"', { a: '2024' }],
    ['a:=null', { a: null }],
    ['a:=[1,{"b":2}]', { a: [1, { b: 2 }] }],
    ['a.b.c=1', { a: { b: { c: 1 } } }],
    ['labels.app\\.kubernetes\\.io/name=x', { labels: { 'app.kubernetes.io/name': 'x' } }],
  ])('%s', (pair, expected) => {
    expect(parseInput([pair])).toEqual(expected)
  })

  test('several pairs build one object, over the file', () => {
    const file = { name: 'old', spec: { cpu: 1, memory: '1Gi' } }
    expect(parseInput(['name=new', 'spec.cpu=2'], file)).toEqual({ name: 'new', spec: { cpu: 2, memory: '1Gi' } })
    expect(file).toEqual({ name: 'old', spec: { cpu: 1, memory: '1Gi' } })
  })

  test.each([
    [['name'], /`name` is not an input/],
    [['=x'], /is not an input/],
    [['a:={'], /is not JSON/],
    [['a=1', 'a=2'], /`a` is given twice/],
    [['a=1', 'a.b=2'], /`a` is given as a value and as `a.b`/],
    [['a.b=2', 'a=1'], /`a` is given as a value and field by field/],
    [['a..b=1'], /is not a field name/],
    [['__proto__.polluted=1'], /is not a field name/],
  ])('%j is refused with the reason', (pairs, message) => {
    expect(() => parseInput(pairs)).toThrow(message)
  })

  test('a field inside a text of the file is refused', () => {
    expect(() => parseInput(['name.first=x'], { name: 'acme' })).toThrow(/`name` is no object/)
  })
})

describe('labels', () => {
  test('stay text', () => {
    expect(parseLabels(['team=core', 'shard=7', 'empty='])).toEqual({ team: 'core', shard: '7', empty: '' })
  })
  test('without a value are refused', () => {
    expect(() => parseLabels(['team'])).toThrow(/Write --label key=value/)
  })
})
