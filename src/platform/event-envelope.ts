import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { InvalidArgumentError } from './platform-error.ts'
import type { Tracer } from './tracer.ts'

const text = z.string().min(1)

/** An event as it travels: CloudEvents 1.0 in JSON, with the extensions that Sluice relies on. */
export const eventEnvelopeSchema = z.object({
  specversion: z.literal('1.0'),
  id: text,
  source: text,
  type: text,
  time: z.iso.datetime({ offset: true }),
  subject: text.optional(),
  datacontenttype: z.literal('application/json'),
  /** The same for every copy and every retry of one happening: what consumers deduplicate by. */
  idempotencykey: text,
  /** Events of one topic with the same partition key are handed out in the order in which they were published. */
  partitionkey: text.optional(),
  /** W3C trace context of the publisher. */
  traceparent: z
    .string()
    .regex(/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/)
    .optional(),
  tracestate: text.optional(),
  data: z.json(),
})

/** CloudEvents 1.0 with `idempotencykey`, `partitionkey`, `traceparent` and `tracestate`. */
export type EventEnvelope = Readonly<z.infer<typeof eventEnvelopeSchema>>

/** What a publisher says about an event; `publish` makes the envelope of it. */
export interface NewEvent {
  /** What happened, for example `sluice.task.completed`. */
  readonly type: string
  /** Who says so, as a URI reference, for example `/sluice`. */
  readonly source: string
  /** What it happened to. */
  readonly subject?: string
  /** What JSON can hold. */
  readonly data: unknown
  /** Order is kept among events of one topic with the same key. None by default. */
  readonly key?: string
  /** @default a random id */
  readonly id?: string
  /** A second publish with the same key within the deduplication window is dropped. @default the id */
  readonly idempotencyKey?: string
  /** @default now */
  readonly time?: Date
  /** @default the publisher's current span */
  readonly traceparent?: string
  readonly tracestate?: string
}

/** @throws InvalidArgumentError when the event is not a valid CloudEvent, naming the attribute */
export function createEnvelope(event: NewEvent, now: () => number): EventEnvelope {
  const id = event.id ?? randomUUID()
  const parsed = eventEnvelopeSchema.safeParse({
    specversion: '1.0',
    id,
    source: event.source,
    type: event.type,
    time: (event.time ?? new Date(now())).toISOString(),
    subject: event.subject,
    datacontenttype: 'application/json',
    idempotencykey: event.idempotencyKey ?? id,
    partitionkey: event.key,
    traceparent: event.traceparent,
    tracestate: event.tracestate,
    data: event.data,
  })
  if (!parsed.success) throw new InvalidArgumentError(`Event ${event.type}: ${z.prettifyError(parsed.error)}`)
  // Through JSON, so that absent attributes are absent and no later change of the caller's data shows.
  return parseEnvelope(JSON.stringify(parsed.data))
}

/** Reads an event off the wire. @throws when it is not one */
export function parseEnvelope(json: string): EventEnvelope {
  return eventEnvelopeSchema.parse(JSON.parse(json))
}

/** The event with the publisher's trace, unless it names one. */
export function withTrace(event: NewEvent, tracer: Pick<Tracer, 'currentTraceparent'> | undefined): NewEvent {
  const traceparent = event.traceparent ?? tracer?.currentTraceparent()
  return traceparent === undefined ? event : { ...event, traceparent }
}

/** As `parseEnvelope`, for channels on which others may write too: `undefined` when it is not an event. */
export function tryParseEnvelope(json: string): EventEnvelope | undefined {
  try {
    return parseEnvelope(json)
  } catch {
    return undefined
  }
}
