import type { KubernetesObject, WaitHub, WatchEvent, WatchTarget } from '../kubernetes/wait-for-ready.ts'
import type { LiveConnection, ObjectChange } from './live-connection.ts'

/**
 * Watches objects over a live connection, for `waitForReady` and its like where there is no way to the cluster itself: in
 * a browser, or in a program that only knows Sluice. What the caller may see is decided by the server.
 */
export function createLiveHub(live: LiveConnection): WaitHub {
  return {
    // Only the server knows the templates: the variables travel, and are filled there.
    basePathFor: (_cluster, variables) => JSON.stringify(variables),
    subscribe: (target, listener, onUnavailable = () => undefined) => {
      const known = createKnownObjects(listener)
      const unlisten = live.onStateChange((state) => {
        if (state !== 'open') known.expectStateAgain()
      })
      const { stop } = live.subscribe({
        to: toWire(target),
        onChange: (change) => {
          if (change.type === 'unavailable') onUnavailable(new Error(change.detail))
          else known.take(change)
        },
        onRefused: ({ detail }) => onUnavailable(new Error(detail)),
      })
      return {
        unsubscribe: () => {
          unlisten()
          stop()
        },
      }
    },
  }
}

function toWire({ cluster, apiVersion, kind, namespace, name, basePath }: WatchTarget) {
  // Ours, from `basePathFor`.
  const variables = basePath ? (JSON.parse(basePath) as Record<string, string>) : undefined
  return { kind: 'resource' as const, cluster, apiVersion, objectKind: kind, namespace, name, basePath: variables }
}

type KnownChange = Exclude<ObjectChange, { type: 'unavailable' }>

/** Remembers what was told, so that what went while the connection was away is told too. */
function createKnownObjects(listener: (change: WatchEvent) => void) {
  let known = new Map<string, KubernetesObject>()
  let again: Map<string, KubernetesObject> | undefined

  const take = (change: KnownChange): void => {
    if (change.type === 'synced') {
      const gone = again ? [...known].filter(([uid]) => !again?.has(uid)) : []
      known = again ?? known
      again = undefined
      for (const [, object] of gone) listener({ type: 'deleted', object })
      listener(change)
      return
    }
    // The server sends objects of its cluster as they are.
    const object = change.object as unknown as KubernetesObject
    const { uid } = object.metadata
    if (change.type === 'deleted') {
      known.delete(uid)
      again?.delete(uid)
    } else {
      known.set(uid, object)
      again?.set(uid, object)
    }
    listener({ type: change.type, object })
  }
  return {
    take,
    expectStateAgain: () => {
      again = new Map()
    },
  }
}
