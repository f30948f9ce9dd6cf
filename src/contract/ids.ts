import { fromString, toUUID, fromUUID } from 'typeid-js'

/** Kinds of id on the wire. In the database each is a plain UUID. */
export type IdPrefix = 'task' | 'batch' | 'ticket' | 'schedule' | 'notification' | 'webhook' | 'delivery' | 'token'

/** `0198…-…` → `task_01k…`: 26 characters of Crockford base 32, sorted by time like the UUID itself. */
export function toWireId(prefix: IdPrefix, uuid: string): string {
  return fromUUID(uuid, prefix)
}

/** `task_01k…` → its UUID; undefined when it is not such an id. */
export function fromWireId(prefix: IdPrefix, id: string): string | undefined {
  try {
    return toUUID(fromString(id, prefix))
  } catch {
    return undefined
  }
}
