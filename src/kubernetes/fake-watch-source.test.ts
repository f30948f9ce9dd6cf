import { describe, expect, test } from 'vitest'
import { ExpiredError, InvalidObjectError } from './cluster-errors.ts'
import { FakeWatchSource } from './fake-watch-source.ts'
import { ManualClock, rest } from './manual-clock.ts'
import type { RawWatchEvent } from './watch-lines.ts'

const things = { apiVersion: 'test.dev/v1', kind: 'Thing' }

function open() {
  const clock = new ManualClock()
  return { clock, source: new FakeWatchSource(clock) }
}

/** Collects what a watch tells until it ends, or fails. */
async function follow(source: FakeWatchSource, options: Parameters<FakeWatchSource['watch']>[1]) {
  const seen: string[] = []
  const state = { seen, error: undefined as unknown, done: false }
  const stream = await source.watch(things, options)
  const read = async (): Promise<void> => {
    for await (const event of stream) seen.push(describeEvent(event))
    state.done = true
  }
  read().catch((error: unknown) => (state.error = error))
  return state
}

function describeEvent({ type, object }: RawWatchEvent): string {
  // Events of the fake: objects, bookmarks and a Status.
  const { metadata, code } = object as { metadata?: { name?: string; resourceVersion?: string }; code?: number }
  return [type, metadata?.name ?? code, metadata?.resourceVersion].filter((part) => part !== undefined).join(' ')
}

describe('FakeWatchSource behaves as an API server does', () => {
  test('pages through a list with one version for all pages', async () => {
    const { source } = open()
    for (const name of ['a', 'b', 'c']) source.put(name)
    const first = await source.list(things, { limit: 2 })
    source.put('d')
    const second = await source.list(things, { limit: 2, continueToken: first.continueToken })
    expect(first.items.map(({ metadata }) => metadata.name)).toEqual(['a', 'b'])
    expect([first.resourceVersion, second.resourceVersion]).toEqual(['103', '103'])
  })

  test('a continue token from before a compaction is expired', async () => {
    const { source } = open()
    for (const name of ['a', 'b', 'c']) source.put(name)
    const { continueToken } = await source.list(things, { limit: 2 })
    source.put('d')
    source.expire()
    await expect(source.list(things, { limit: 2, continueToken })).rejects.toThrow(ExpiredError)
  })

  test('a watch tells what came after its version, and goes on', async () => {
    const { source } = open()
    source.put('a')
    source.put('b')
    const { seen } = await follow(source, { resourceVersion: '101' })
    source.put('a', { status: 1 })
    source.remove('b')
    await rest()
    expect(seen).toEqual(['ADDED b 102', 'MODIFIED a 103', 'DELETED b 104'])
  })

  test('a watch from before the history answers 410, as an event or as HTTP', async () => {
    const { source } = open()
    source.put('a')
    source.expire()
    const { seen } = await follow(source, { resourceVersion: '90' })
    await rest()
    expect(seen).toEqual(['ERROR 410'])
    source.expiry = 'http'
    await expect(source.watch(things, { resourceVersion: '90' })).rejects.toThrow(ExpiredError)
  })

  test('a watch at a future version stays silent, without bookmarks', async () => {
    const { clock, source } = open()
    const { seen } = await follow(source, { resourceVersion: '5000' })
    source.put('a')
    await clock.advance(180_000)
    expect(seen).toEqual([])
  })

  test('bookmarks come every minute', async () => {
    const { clock, source } = open()
    const { seen } = await follow(source, { resourceVersion: '100' })
    await clock.advance(120_000)
    expect(seen).toEqual(['BOOKMARK 100', 'BOOKMARK 100'])
  })

  test('a streamed list is offered, refused or overlooked', async () => {
    const { source } = open()
    source.put('a')
    await expect(source.watch(things, { initialEvents: true })).rejects.toThrow(InvalidObjectError)
    source.streaming = 'offered'
    const offered = await follow(source, { initialEvents: true })
    source.streaming = 'overlooked'
    const overlooked = await follow(source, { initialEvents: true })
    await rest()
    expect(offered.seen).toEqual(['ADDED a 101', 'BOOKMARK 101'])
    expect(overlooked.seen).toEqual(['ADDED a 101'])
  })

  test('watches break, end, fall silent, and follow their signal', async () => {
    const { source } = open()
    const broken = await follow(source, { resourceVersion: '100' })
    await rest()
    source.cut()
    await rest()
    expect(broken.error).toMatchObject({ message: 'socket hang up' })

    const ended = await follow(source, { resourceVersion: '100' })
    source.end()
    await rest()
    expect(ended.done).toBe(true)

    const silent = await follow(source, { resourceVersion: '100' })
    source.silence()
    source.put('a')
    await rest()
    expect(silent).toMatchObject({ seen: [], done: false, error: undefined })

    const abort = new AbortController()
    const aborted = await follow(source, { resourceVersion: '101', signal: abort.signal })
    abort.abort(new Error('enough'))
    await rest()
    expect(aborted.error).toMatchObject({ message: 'enough' })
  })

  test('requests fail and hang on command', async () => {
    const { source } = open()
    source.failNext('list', new Error('boom'))
    await expect(source.list(things)).rejects.toThrow('boom')
    await expect(source.list(things)).resolves.toMatchObject({ items: [] })
    source.hang('list')
    const abort = new AbortController()
    const hanging = source.list(things, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(hanging).rejects.toThrow('enough')
  })

  test('after a rewind all versions are lower', async () => {
    const { source } = open()
    source.put('a')
    source.rewind(50)
    const { items, resourceVersion } = await source.list(things)
    expect([resourceVersion, items[0]?.metadata.resourceVersion]).toEqual(['51', '51'])
  })
})
