import { createParser } from 'eventsource-parser'
import { eventSchema, isTerminalEvent, type TaskEvent } from '../contract/event.ts'
import { taskSchema } from '../contract/task.ts'
import type { Exchange } from './exchange.ts'
import { pause, type Backoff } from './pause.ts'
import { isPassing, SluiceProblem, UnreachableError } from './sluice-problem.ts'

export interface WatchTaskOptions {
  readonly signal?: AbortSignal | undefined
  /** Go on after this event (`seq`); without it the timeline comes from its beginning. */
  readonly lastEventId?: string | undefined
  /** Milliseconds without any connection after which the watch ends with UnreachableError. @default 300_000 */
  readonly giveUpAfterMs?: number | undefined
}

/** A stream without a byte for so long is dead: the server sends a comment every 15 s. Resuming loses nothing. */
const silenceMs = 60_000

/**
 * A task's events in order, from the beginning or after `lastEventId`, ending after the terminal one. A broken connection
 * is resumed after the last event seen, so that nothing is missed or repeated.
 */
export async function* watchTask(
  exchange: Exchange,
  backoff: Backoff,
  options: WatchTaskOptions & { readonly taskId: string },
): AsyncGenerator<TaskEvent, void, undefined> {
  const path = `/tasks/${encodeURIComponent(options.taskId)}`
  let cursor = options.lastEventId
  let failures = 0
  let lastContact = Date.now()
  let ended = false
  for (;;) {
    options.signal?.throwIfAborted()
    let waitMs = 0
    let news = false
    try {
      for await (const event of readEvents(exchange, `${path}/events`, { cursor, signal: options.signal })) {
        if (cursor !== undefined && BigInt(event.seq) <= BigInt(cursor)) continue
        cursor = event.seq
        news = true
        failures = 0
        lastContact = Date.now()
        yield event
        if (isTerminalEvent(event.type)) return
      }
      lastContact = Date.now()
      // The server closed without the terminal event. A resume past the end looks like this too, and is told apart by
      // the task itself; asked before one more connection, since the end may have come in between.
      if (ended && !news) return
      ended = (await exchange.request(taskSchema, { path, signal: options.signal })).done
      if (ended) continue
    } catch (error) {
      if (!isPassing(error)) throw error
      if (Date.now() - lastContact > (options.giveUpAfterMs ?? 300_000)) throw error
      waitMs = error.retryAfterMs ?? 0
    }
    failures += 1
    await pause(Math.max(waitMs, backoff(failures)), options.signal)
  }
}

async function* readEvents(
  exchange: Exchange,
  path: string,
  options: { readonly cursor: string | undefined; readonly signal: AbortSignal | undefined },
): AsyncGenerator<TaskEvent, void, undefined> {
  const connection = new AbortController()
  const url = exchange.address(path)
  const signal = options.signal === undefined ? connection.signal : AbortSignal.any([options.signal, connection.signal])
  const resume: Record<string, string> = options.cursor === undefined ? {} : { 'last-event-id': options.cursor }
  const arrived: string[] = []
  const parser = createParser({ onEvent: (message) => arrived.push(message.data) })
  let silence: ReturnType<typeof setTimeout> | undefined
  const heard = () => {
    clearTimeout(silence)
    silence = setTimeout(() => connection.abort(), silenceMs)
  }
  try {
    const response = await exchange.open({ path, headers: { accept: 'text/event-stream', ...resume }, signal })
    if (response.status === 204 || response.body === null) return
    heard()
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      heard()
      parser.feed(value)
      for (const data of arrived.splice(0)) yield parseEvent(data, url)
    }
  } catch (error) {
    options.signal?.throwIfAborted()
    if (error instanceof SluiceProblem || error instanceof UnreachableError) throw error
    throw new UnreachableError(
      url,
      connection.signal.aborted ? `silent for ${silenceMs / 1000} s` : 'the stream broke off',
      {
        cause: error,
      },
    )
  } finally {
    clearTimeout(silence)
    connection.abort()
  }
}

function parseEvent(data: string, url: string): TaskEvent {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch {
    value = undefined
  }
  const parsed = eventSchema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new UnreachableError(url, 'it sent an event that this version of the client does not know', {
    cause: parsed.error,
  })
}
