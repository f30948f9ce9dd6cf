import { describe, expect, test } from 'vitest'
import type { Json } from './json.ts'
import { podKind } from './kinds/workloads.ts'
import { jsonPatch, mergePatch, strategicMergePatch } from './patch.ts'
import { StatusError } from './status-error.ts'

describe('merge patch (RFC 7386)', () => {
  // The examples of the standard's appendix: original, patch, result.
  const examples: readonly (readonly [Json, Json, Json])[] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ]
  test.each(examples)('%j with %j is %j', (original, patch, result) => {
    expect(mergePatch(original, patch)).toEqual(result)
  })
})

describe('JSON patch (RFC 6902)', () => {
  const examples: readonly (readonly [Json, Json, Json])[] = [
    [{ foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { foo: 'bar', baz: 'qux' }],
    [{ foo: ['bar', 'baz'] }, [{ op: 'add', path: '/foo/1', value: 'qux' }], { foo: ['bar', 'qux', 'baz'] }],
    [{ foo: ['bar'] }, [{ op: 'add', path: '/foo/-', value: 'baz' }], { foo: ['bar', 'baz'] }],
    [{ baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
    [{ foo: ['a', 'b'] }, [{ op: 'remove', path: '/foo/0' }], { foo: ['b'] }],
    [{ a: { b: 1 } }, [{ op: 'move', from: '/a/b', path: '/c' }], { a: {}, c: 1 }],
    [{ a: { b: 1 } }, [{ op: 'copy', from: '/a', path: '/c' }], { a: { b: 1 }, c: { b: 1 } }],
    [{ '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
    [{ 'a/b': 1 }, [{ op: 'replace', path: '/a~1b', value: 2 }], { 'a/b': 2 }],
  ]
  test.each(examples)('%j with %j is %j', (original, patch, result) => {
    expect(jsonPatch(original, patch)).toEqual(result)
  })

  const refused: readonly (readonly [Json, Json])[] = [
    [{ a: 1 }, [{ op: 'test', path: '/a', value: 2 }]],
    [{ a: 1 }, [{ op: 'remove', path: '/b' }]],
    [{ a: 1 }, [{ op: 'replace', path: '/b', value: 1 }]],
    [{ a: 1 }, [{ op: 'add', path: '/b/c', value: 1 }]],
    [{ a: [1] }, [{ op: 'add', path: '/a/5', value: 1 }]],
    [{ a: 1 }, [{ op: 'twist', path: '/a' }]],
  ]
  test.each(refused)('%j with %j is refused with 422', (original, patch) => {
    expect(() => jsonPatch(original, patch)).toThrow(StatusError)
  })

  test('a member called __proto__ is a member like any other', () => {
    const patched = jsonPatch({}, [{ op: 'add', path: '/__proto__', value: { polluted: true } }])
    expect(Object.hasOwn(patched as object, '__proto__')).toBe(true)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
})

describe('strategic merge patch', () => {
  const pod = (containers: Json): Json => ({ spec: { containers } })
  const merge = (live: Json, patch: Json): Json => strategicMergePatch(live, patch, podKind.schema)

  test('containers merge by name', () => {
    const live = pod([
      { name: 'a', image: 'one' },
      { name: 'b', image: 'two' },
    ])
    expect(merge(live, pod([{ name: 'b', image: 'three' }]))).toEqual(
      pod([
        { name: 'a', image: 'one' },
        { name: 'b', image: 'three' },
      ]),
    )
  })

  test('$patch deletes an item or replaces the list', () => {
    const live = pod([
      { name: 'a', image: 'one' },
      { name: 'b', image: 'two' },
    ])
    expect(merge(live, pod([{ name: 'a', $patch: 'delete' }]))).toEqual(pod([{ name: 'b', image: 'two' }]))
    expect(merge(live, pod([{ $patch: 'replace' }, { name: 'c', image: 'x' }]))).toEqual(
      pod([{ name: 'c', image: 'x' }]),
    )
  })

  test('$setElementOrder orders, $deleteFromPrimitiveList removes, $retainKeys keeps', () => {
    const live = {
      metadata: { finalizers: ['a', 'b'] },
      spec: { containers: [{ name: 'a' }, { name: 'b' }], hostname: 'x' },
    }
    const patch = {
      metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] },
      spec: { $retainKeys: ['containers'], '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] },
    }
    expect(merge(live, patch)).toEqual({
      metadata: { finalizers: ['b'] },
      spec: { containers: [{ name: 'b' }, { name: 'a' }] },
    })
  })

  test('lists without a key are replaced', () => {
    const live = pod([{ name: 'a', args: ['x', 'y'] }])
    expect(merge(live, pod([{ name: 'a', args: ['z'] }]))).toEqual(pod([{ name: 'a', args: ['z'] }]))
  })
})
