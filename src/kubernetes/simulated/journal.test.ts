import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Journal } from './journal.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { ObjectStore } from './object-store.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'journal-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function open(): ObjectStore {
  const { journal, entries } = Journal.open(folder)
  return new ObjectStore(journal, entries)
}

function thing(name: string, value = 'x'): KubernetesObject {
  return { apiVersion: 'v1', kind: 'Thing', metadata: { name, namespace: 'default' }, value }
}

test('opening again rewrites the file without its history, and keeps the counter', () => {
  const first = open()
  for (let index = 0; index < 200; index += 1) first.put('/things', thing('one', 'y'.repeat(1_000)))
  first.put('/things', thing('two'))
  first.remove('/things', 'default/two')
  const { version } = first
  first.close()
  const before = statSync(join(folder, 'journal.jsonl')).size

  const second = open()
  expect(statSync(join(folder, 'journal.jsonl')).size).toBeLessThan(before / 50)
  expect(second.version).toBe(version)
  expect(second.get('/things', 'default/one')?.metadata['resourceVersion']).toBe(String(version - 2))
  expect(second.get('/things', 'default/two')).toBeUndefined()
  second.close()
})

test('a rewound counter stays rewound', () => {
  const first = open()
  first.put('/things', thing('one'))
  const { version } = first
  first.rewind(500)
  first.close()
  const second = open()
  expect(second.version).toBe(version - 500)
  expect(second.get('/things', 'default/one')?.metadata['resourceVersion']).toBe(String(version - 500))
  second.close()
})

test('rewrites itself while running once it is long and mostly history', () => {
  const store = open()
  const text = 'z'.repeat(1_000_000)
  for (let index = 0; index < 70; index += 1) store.put('/things', thing('large', `${index}${text}`))
  expect(statSync(join(folder, 'journal.jsonl')).size).toBeLessThan(20_000_000)
  store.put('/things', thing('last'))
  store.close()
  const again = open()
  expect(again.get('/things', 'default/large')?.['value']).toBe(`69${text}`)
  expect(again.get('/things', 'default/last')).toBeDefined()
  again.close()
})
