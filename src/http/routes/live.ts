import type { FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import { fromWireId } from '../../contract/ids.ts'
import { type LiveMessage, type LiveRequest, liveRequestSchema } from '../../contract/live.ts'
import { hideSecretFields } from '../../kubernetes/secret-fields.ts'
import type { WatchEvent } from '../../kubernetes/watch-hub.ts'
import { subscribeToResources } from '../../live/resource-feed.ts'
import { readOldest } from '../../live/feed.sql.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { slowReaderBytes } from '../event-stream.ts'
import type { Services } from '../services.ts'
import { subscribeNotifications } from '../notification-feed.ts'
import { readerOf } from './notifications.ts'
import { toCloudEvent, toNotificationEvent } from '../../live/wire-event.ts'
import { watchAccess } from '../watch-access.ts'

const heartbeatMs = 15_000
const maxSubscriptions = 100
/** Closes a connection whose token, session or role has ended. As 401 does in HTTP: come back with a credential that holds. */
const accessLostCode = 4401
/** "Service restart": come back at once. */
const rolesChangedCode = 1012

/** `GET /live`: subscriptions over one WebSocket. */
export function liveRoutes(app: App, services: Services): void {
  app.get(
    '/live',
    { websocket: true, config: { permission: 'tasks.read' }, schema: { hide: true } },
    (socket, request) => serve(services, socket, request),
  )
}

function serve(services: Services, socket: WebSocket, request: FastifyRequest): void {
  const { tenant, permissions } = callerOf(request)
  const subscriptions = new Map<string, () => void>()
  const send = (message: LiveMessage): void => {
    // A reader that does not read is cut off, and resumes with its cursor.
    if (socket.bufferedAmount > slowReaderBytes) socket.terminate()
    else socket.send(JSON.stringify(message))
  }
  const refuse = (subscription: string | null, code: string, detail: string) =>
    send({ subscription, error: { code, detail } })
  const heartbeat = setInterval(() => send({ heartbeat: true }), heartbeatMs)
  const end = (code: number, why: string) => {
    for (const stop of subscriptions.values()) stop()
    socket.close(code, why)
  }
  const stopWatching = watchAccess(
    services,
    request,
    () => end(accessLostCode, 'access revoked or expired'),
    // What is told depends on them: whoever comes again goes on from their cursors.
    () => end(rolesChangedCode, 'roles changed'),
  )

  const subscribe = async ({
    subscribe: wanted,
    cursor,
  }: Extract<LiveRequest, { subscribe: unknown }>): Promise<void> => {
    const { id } = wanted
    if (!subscriptions.has(id) && subscriptions.size >= maxSubscriptions) {
      return refuse(id, 'too_many_subscriptions', `One connection holds at most ${maxSubscriptions} subscriptions.`)
    }
    if (wanted.kind === 'resource') return subscribeToObjects(wanted)
    if (wanted.kind === 'notifications' && !permissions.has('notifications.read'))
      return refuse(id, 'forbidden', 'It needs the permission notifications.read.')
    const taskId = wanted.kind === 'task' ? fromWireId('task', wanted.task_id) : undefined
    if (wanted.kind === 'task' && taskId === undefined) return refuse(id, 'not_found', 'This is not a task id.')
    subscriptions.get(id)?.()
    let open = true
    let unsubscribe: () => void = () => undefined
    subscriptions.set(id, () => {
      open = false
      unsubscribe()
    })
    const start = cursor === undefined ? undefined : await startingPoint(services, BigInt(cursor))
    if (!open) return
    if (start?.reset) send({ subscription: id, reset: true, cursor: start.after.toString() })
    if (wanted.kind === 'notifications') {
      unsubscribe = subscribeNotifications(services, {
        reader: readerOf(request),
        ...(start && { after: start.after }),
        onNotification: (notification) => send({ subscription: id, event: toNotificationEvent(tenant, notification) }),
        onReady: (ready) => send({ subscription: id, ready: true, cursor: ready.toString() }),
        onError: () => refuse(id, 'interrupted', 'The subscription broke; subscribe again with your cursor.'),
      })
      return
    }
    unsubscribe = services.feed.subscribe({
      tenant,
      ...(start && { after: start.after }),
      ...(taskId !== undefined && { taskId }),
      onEvent: (event) => {
        // What moves no task is for the audit and for notifications.
        if (event.taskId !== null) send({ subscription: id, event: toCloudEvent(event) })
      },
      onReady: (ready) => send({ subscription: id, ready: true, cursor: ready.toString() }),
      onError: () => refuse(id, 'interrupted', 'The subscription broke; subscribe again with your cursor.'),
    })
  }

  const subscribeToObjects = (wanted: ResourceRequest): void => {
    const { id, cluster: name, api_version: apiVersion, object_kind: kind, namespace, base_path: variables } = wanted
    if (!permissions.has('resources.read')) return refuse(id, 'forbidden', 'It needs the permission resources.read.')
    subscriptions.get(id)?.()
    try {
      const cluster = services.clusterKey(tenant, name)
      const basePath = services.cluster(tenant, name).basePathFor(variables ?? {})
      const stop = subscribeToResources(services, {
        tenant,
        ownCluster: cluster !== name,
        target: { cluster, basePath, apiVersion, kind, namespace, name: wanted.name },
        onEvent: (event) => send({ subscription: id, resource: toWireChange(event) }),
        onUnavailable: ({ message }) => send({ subscription: id, resource: { type: 'unavailable', detail: message } }),
      })
      subscriptions.set(id, stop)
    } catch (error) {
      refuse(id, 'unknown_cluster', error instanceof Error ? error.message : String(error))
    }
  }

  const onMessage = async (text: string): Promise<void> => {
    const message = parseRequest(text)
    if (!message)
      return refuse(null, 'malformed_request', 'Send {"subscribe": {"id", "kind"}, "cursor"} or {"unsubscribe": id}.')
    if ('subscribe' in message) return subscribe(message)
    subscriptions.get(message.unsubscribe)?.()
    subscriptions.delete(message.unsubscribe)
  }

  socket.on('message', (data) => {
    // One Buffer per message, unless `binaryType` asks for something else.
    onMessage((data as Buffer).toString()).catch((error: unknown) => {
      services.logger.warn('live connection ended by an error; its reader resumes', { error })
      socket.close(1011)
    })
  })
  socket.on('close', () => {
    clearInterval(heartbeat)
    stopWatching()
    for (const stop of subscriptions.values()) stop()
  })
}

type ResourceRequest = Extract<Extract<LiveRequest, { subscribe: unknown }>['subscribe'], { kind: 'resource' }>

function toWireChange(event: WatchEvent): Extract<LiveMessage, { resource: unknown }>['resource'] {
  return event.type === 'synced' ? event : { type: event.type, object: { ...hideSecretFields(event.object) } }
}

/** Where a cursor goes on; `reset` when the log no longer holds what came after it, or never handed it out. */
async function startingPoint(services: Services, cursor: bigint): Promise<{ after: bigint; reset: boolean }> {
  const oldest = await readOldest(services.database.pool)
  const now = services.feed.cursor
  const tooOld = oldest !== undefined && cursor + 1n < oldest && cursor !== 0n
  // A number from the future comes from another database, or from a reader ahead of this process by a moment.
  const unknown = cursor > now + 1_000_000n
  return tooOld || unknown ? { after: now, reset: true } : { after: cursor, reset: false }
}

function parseRequest(text: string): LiveRequest | undefined {
  try {
    return liveRequestSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
