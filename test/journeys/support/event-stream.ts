import { createParser } from 'eventsource-parser'
import { eventSchema, type TaskEvent } from '../../../src/contract/event.ts'
import type { Api } from './api.ts'

/** A task's timeline as it comes (`text/event-stream`). */
export interface EventStream {
  readonly status: number
  readonly contentType: string
  /** Resolves with the next event; undefined when the server has ended the stream. */
  next(): Promise<TaskEvent | undefined>
  /** Reads on up to this type, and returns that event. */
  until(type: string): Promise<TaskEvent>
  /** Reads on to the end, and returns what came. */
  rest(): Promise<TaskEvent[]>
  close(): Promise<void>
}

const deadlineMs = 60_000

/** `GET /tasks/{id}/events` as a browser's EventSource asks for it. */
export async function openEventStream(api: Api, taskId: string, lastEventId?: string): Promise<EventStream> {
  const connection = new AbortController()
  const response = await fetch(`${api.url}/api/v1/tasks/${taskId}/events`, {
    headers: {
      accept: 'text/event-stream',
      authorization: `Bearer ${api.token}`,
      ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
    },
    signal: AbortSignal.any([connection.signal, AbortSignal.timeout(deadlineMs)]),
  })
  const arrived: TaskEvent[] = []
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      const parsed = eventSchema.parse(JSON.parse(data))
      if (parsed.seq !== id || parsed.type !== event) throw new Error(`envelope ${id} ${event} around ${data}`)
      arrived.push(parsed)
    },
  })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  const stream: EventStream = {
    status: response.status,
    contentType: response.headers.get('content-type') ?? '',
    next: async () => {
      while (arrived.length === 0) {
        const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
        if (done) return undefined
        parser.feed(value)
      }
      return arrived.shift()
    },
    until: async (type) => {
      for (;;) {
        const event = await stream.next()
        if (!event) throw new Error(`the stream ended before ${type}`)
        if (event.type === type) return event
      }
    },
    rest: async () => {
      const events: TaskEvent[] = []
      for (let event = await stream.next(); event; event = await stream.next()) events.push(event)
      return events
    },
    close: async () => {
      await reader?.cancel()
      connection.abort()
    },
  }
  return stream
}
