import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedWatchError, type RawWatchEvent, readWatchLines } from './watch-lines.ts'

async function* chunksOf(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  let from = 0
  for (const at of [...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]) {
    if (at > from) yield bytes.subarray(from, at)
    from = Math.max(from, at)
  }
}

async function readAll(text: string, cuts: readonly number[] = []): Promise<RawWatchEvent[]> {
  return collect(readWatchLines(chunksOf(Buffer.from(text), cuts)))
}

async function collect(events: AsyncIterable<RawWatchEvent>): Promise<RawWatchEvent[]> {
  const all: RawWatchEvent[] = []
  for await (const event of events) all.push(event)
  return all
}

describe('watch lines', () => {
  test('come out whole, wherever the connection cuts them, characters of several bytes too', async () => {
    const event = fc.record({
      type: fc.constantFrom('ADDED', 'MODIFIED'),
      object: fc.dictionary(fc.string(), fc.string({ unit: 'grapheme' })),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(event), fc.array(fc.nat(5000)), async (events, cuts) => {
        const text = events.map((each) => `${JSON.stringify(each)}\n`).join('')
        expect(await readAll(text, cuts)).toEqual(JSON.parse(JSON.stringify(events)))
      }),
      { numRuns: 200 },
    )
  })

  test('a last line without its end is a connection that died, and is dropped', async () => {
    expect(await readAll('{"type":"ADDED","object":{}}\n{"type":"MODIF')).toEqual([{ type: 'ADDED', object: {} }])
  })

  test('empty lines are nothing', async () => {
    expect(await readAll('\n{"type":"ADDED","object":{}}\n\n')).toHaveLength(1)
  })

  test.each([
    ['no JSON', '<html>Bad gateway</html>\n'],
    ['half JSON', '{"type":"ADDED","object":{"kind":\n'],
    ['JSON that is no event', '{"kind":"Status"}\n'],
    ['an array', '[1]\n'],
    ['an event without an object', '{"type":"ADDED"}\n'],
  ])('%s is refused', async (_, text) => {
    await expect(readAll(text)).rejects.toThrow(MalformedWatchError)
  })

  test('a line without end does not fill the memory', async () => {
    async function* endless(): AsyncGenerator<Buffer> {
      const chunk = Buffer.alloc(1024 * 1024, 'x')
      for (;;) yield chunk
    }
    await expect(collect(readWatchLines(endless()))).rejects.toThrow('longer than')
  })
})
