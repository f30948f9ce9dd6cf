import type { FastifyReply, FastifyRequest } from 'fastify'
import { isTerminal } from '../contract/task-status.ts'
import type { LoggedEvent } from '../live/feed.sql.ts'
import type { TaskRow } from '../tasks/task-view.ts'
import type { Services } from './services.ts'
import { noteStream } from './trace-requests.ts'
import { watchAccess } from './watch-access.ts'
import { toWireEvent } from '../live/wire-event.ts'

export interface EventStream {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly tenant: string
  readonly task: TaskRow
}

const keepAliveMs = 15_000
/** A reader that falls this far behind is cut off; it resumes with Last-Event-ID. */
export const slowReaderBytes = 1024 * 1024

const accessLost = 'The token, session or role was revoked or has expired.'

const terminalEvent = /^task\.(completed|failed|timed_out|cancelled|rejected|expired)$/

/**
 * A task's timeline as server-sent events, from the beginning or after `Last-Event-ID`. It ends with the task: an
 * EventSource that comes back after the last event is answered 204, which tells it to stay away.
 */
export function streamEvents(services: Services, { request, reply, tenant, task }: EventStream): FastifyReply {
  const after = readLastEventId(request)
  if (isTerminal(task.status) && after >= BigInt(task.last_seq)) return reply.status(204).send()

  noteStream(request)
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  })
  // A comment at once: proxies pass the head on, and the reader knows that it is connected.
  raw.write(': connected\n\n')
  let unsubscribe: () => void = () => undefined
  const keepAlive = setInterval(() => raw.write(': still here\n\n'), keepAliveMs)
  const end = () => {
    clearInterval(keepAlive)
    stopWatching()
    unsubscribe()
    raw.end()
  }
  const stopWatching = watchAccess(services, request, () => {
    raw.write(`event: error\ndata: ${JSON.stringify({ code: 'unauthenticated', detail: accessLost })}\n\n`)
    end()
  })
  raw.on('close', end)
  unsubscribe = services.feed.subscribe({
    after,
    tenant,
    taskId: task.task_id,
    onEvent: (event) => {
      if (raw.writableLength > slowReaderBytes) {
        raw.destroy()
        return
      }
      raw.write(toServerSentEvent(event))
      if (terminalEvent.test(event.type)) end()
    },
    onError: (error) => {
      services.logger.warn('event stream ended by an error; its reader resumes', { error })
      end()
    },
  })
  return reply
}

// A cursor that is none reads from the beginning: repeating is better than missing.
function readLastEventId(request: FastifyRequest): bigint {
  const id = request.headers['last-event-id']
  return typeof id === 'string' && /^\d{1,18}$/.test(id) ? BigInt(id) : 0n
}

function toServerSentEvent(event: LoggedEvent): string {
  return `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(toWireEvent(event))}\n\n`
}
