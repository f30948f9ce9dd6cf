import { once } from 'node:events'
import WebSocket from 'ws'
import { liveMessageSchema, type CloudEvent, type LiveMessage } from '../../../src/contract/live.ts'
import type { Api } from './api.ts'

/** One WebSocket to `/live`. */
export interface LiveSocket {
  send(message: object): void
  /** Resolves with the next message that is no heartbeat; fails after 10 s. */
  next(): Promise<LiveMessage>
  /** Reads on up to an event about this task and of this type; returns every event on the way, that one last. */
  until(taskId: string, type: string): Promise<CloudEvent[]>
  /** Breaks the connection without a word. */
  cut(): void
}

const nextDeadlineMs = 10_000

export async function openLiveSocket(api: Api): Promise<LiveSocket> {
  const socket = new WebSocket(`${api.url.replace(/^http/, 'ws')}/api/v1/live`, {
    headers: { authorization: `Bearer ${api.token}` },
  })
  const arrived: LiveMessage[] = []
  const heard = new EventTarget()
  socket.on('message', (data) => {
    const message = liveMessageSchema.parse(JSON.parse(String(data)))
    if ('heartbeat' in message) return
    arrived.push(message)
    heard.dispatchEvent(new Event('message'))
  })
  await once(socket, 'open')
  const live: LiveSocket = {
    send: (message) => socket.send(JSON.stringify(message)),
    next: async () => {
      const signal = AbortSignal.timeout(nextDeadlineMs)
      while (arrived.length === 0) await once(heard, 'message', { signal })
      const [message] = arrived.splice(0, 1)
      if (!message) throw new Error('a message was there and is gone')
      return message
    },
    until: async (taskId, type) => {
      const events: CloudEvent[] = []
      for (;;) {
        const message = await live.next()
        if (!('event' in message)) continue
        events.push(message.event)
        if (message.event.subject === taskId && message.event.type === type) return events
      }
    },
    cut: () => socket.terminate(),
  }
  return live
}
