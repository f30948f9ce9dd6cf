import { isRecord } from './kubernetes-object.ts'

/** One event of a watch, as it came. */
export interface RawWatchEvent {
  readonly type: string
  readonly object: unknown
}

/** A watch line that is no event: a broken proxy, or a server that died in the middle. Reconnect. */
export class MalformedWatchError extends Error {
  readonly code = 'malformed_watch'
}

// etcd takes objects up to 1.5 MiB; as JSON they may grow, but not to this.
const maxLineBytes = 32 * 1024 * 1024

/**
 * Splits a watch's bytes into events, one JSON document a line. Bytes, not text, are joined: a character may be cut by
 * a chunk's end. A last line without its newline is a connection that died, and is dropped.
 *
 * @throws MalformedWatchError
 */
export async function* readWatchLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<RawWatchEvent> {
  let parts: Buffer[] = []
  let held = 0
  for await (const chunk of chunks) {
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const line = chunk.subarray(from, at)
      from = at + 1
      const whole = parts.length > 0 ? Buffer.concat([...parts, line]) : line
      parts = []
      held = 0
      if (whole.length > 0) yield parseLine(whole)
    }
    if (from < chunk.length) {
      held += chunk.length - from
      if (held > maxLineBytes) throw new MalformedWatchError(`a watch line is longer than ${maxLineBytes} bytes`)
      parts.push(chunk.subarray(from))
    }
  }
}

function parseLine(line: Buffer): RawWatchEvent {
  let value: unknown
  try {
    value = JSON.parse(line.toString('utf8'))
  } catch (cause) {
    throw new MalformedWatchError('a watch line is no JSON', { cause })
  }
  if (!isRecord(value) || typeof value['type'] !== 'string' || !('object' in value)) {
    throw new MalformedWatchError('a watch line is no event')
  }
  return { type: value['type'], object: value['object'] }
}
