import { createHash } from 'node:crypto'

/** An event as it is hashed: every column of the log, as PostgreSQL writes them. */
export interface ChainedEvent {
  readonly seq: string
  readonly event_id: string
  readonly task_id: string | null
  readonly tenant_id: string
  readonly type: string
  readonly operation: string | null
  readonly target: string | null
  readonly actor: string
  /** Microseconds since 1970. */
  readonly at_us: string
  /** SHA-256 in hexadecimal of the `jsonb` as text, which has one form. A payload may be as long as a request. */
  readonly payload_hash: string
}

export const linkBytes = 32

/** Before a tenant's first event. */
export const firstLink: Buffer = Buffer.alloc(linkBytes)

/**
 * An event's link in its tenant's chain: SHA-256 over the link before and this JSON array (RFC 8785, all strings or null):
 *
 *     ["sluice.audit.v1", tenant, position, seq, event_id, task_id, type, operation, target, actor, at_us, payload_hash]
 *
 * Whoever changes, moves, adds or removes an event changes this link and every one behind it.
 */
export function linkOf(previous: Uint8Array, event: ChainedEvent, position: number): Buffer {
  const { seq, event_id, task_id, tenant_id, type, operation, target, actor, at_us, payload_hash } = event
  const canonical = JSON.stringify([
    'sluice.audit.v1',
    tenant_id,
    String(position),
    seq,
    event_id,
    task_id,
    type,
    operation,
    target,
    actor,
    at_us,
    payload_hash,
  ])
  return createHash('sha256').update(previous).update(canonical).digest()
}
