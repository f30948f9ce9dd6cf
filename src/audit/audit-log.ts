import { toWireId } from '../contract/ids.ts'
import type { AuditEntry } from '../contract/audit.ts'
import type { Database, Transaction } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import {
  type AuditOrder,
  type AuditQuery,
  type AuditRow,
  selectRuns,
  selectSealed,
  selectTail,
  selectTaskSpan,
  type SealedRun,
} from './audit-log.sql.ts'
import { linkBytes } from './chain.ts'
import { readSealedUpTo } from './seal.sql.ts'

export interface AuditReading {
  readonly tenant: string
  readonly query: AuditQuery
  readonly order: AuditOrder
  /** Goes on behind this entry. */
  readonly behind?: AuditCursor | undefined
}

/** Where a page ends. */
export interface AuditCursor {
  readonly seq: string
  /** Of the first event of its seal; undefined for one that is not sealed yet. */
  readonly run: string | undefined
}

interface Found {
  readonly entry: AuditEntry
  readonly cursor: AuditCursor
}

/** Events that are read at once: each may be as long as a request. */
const chunkEvents = 250
/** Events whose seals are read at once. */
const runEvents = 2_000
/** What one page looks through at most: of what is rarer than that the page holds less, and the next one goes on. */
const maxChunks = 100

/** One page of the log, and where the next one begins; undefined at the end. */
export async function listAudit(
  database: Database,
  reading: AuditReading,
  size: number,
): Promise<{ readonly items: AuditEntry[]; readonly next: AuditCursor | undefined }> {
  const found: Found[] = []
  let chunks = 0
  let seen: AuditCursor | undefined
  for await (const chunk of readChunks(database, reading)) {
    found.push(...chunk.found)
    seen = chunk.end
    chunks++
    if (found.length > size || chunks >= maxChunks) break
    seen = undefined
  }
  const items = found.slice(0, size)
  const next = found.length > size ? items.at(-1)?.cursor : seen
  return { items: items.map(({ entry }) => entry), next }
}

/** The log from its oldest event on, a few thousand at a time. Holds no transaction open between them. */
export async function* exportAudit(
  database: Database,
  reading: Pick<AuditReading, 'tenant' | 'query'>,
): AsyncGenerator<readonly AuditEntry[], void, undefined> {
  for await (const { found } of readChunks(database, { ...reading, order: 'oldest first' })) {
    if (found.length > 0) yield found.map(({ entry }) => entry)
  }
}

interface Chunk {
  readonly found: readonly Found[]
  /** Where it ended, whether or not something was found there. */
  readonly end: AuditCursor | undefined
}

async function* readChunks(database: Database, asked: AuditReading): AsyncGenerator<Chunk, void, undefined> {
  const read = <T>(work: (tx: Transaction) => Promise<T>) => readAsTenant(database, asked.tenant, work)
  const reading = await read((tx) => narrow(tx, asked))
  if (!reading) return
  // Read once: what is sealed meanwhile is still found behind it, and nothing twice.
  const sealedUpTo = await read(readSealedUpTo)
  const { order, behind } = reading
  if (order === 'newest first' && behind?.run === undefined) yield* readTail(read, reading, sealedUpTo)
  yield* readSealed(read, reading, sealedUpTo)
  if (order === 'oldest first') yield* readTail(read, reading, sealedUpTo)
}

type Read = <T>(work: (tx: Transaction) => Promise<T>) => Promise<T>

/** What one task did lies within the time that it lived. */
async function narrow(tx: Transaction, reading: AuditReading): Promise<AuditReading | undefined> {
  const { tenant, query } = reading
  if (query.taskId === undefined) return reading
  const span = await selectTaskSpan(tx, tenant, query.taskId)
  if (!span) return undefined
  const since = query.since && query.since > span.since ? query.since : span.since
  const until = query.until && query.until < span.until ? query.until : span.until
  return { ...reading, query: { ...query, since, until } }
}

async function* readSealed(read: Read, reading: AuditReading, sealedUpTo: bigint): AsyncGenerator<Chunk> {
  const { tenant, query, order, behind } = reading
  let from = behind?.run
  for (;;) {
    const runs = await read((tx) => selectRuns(tx, { tenant, query, order, sealedUpTo, from, events: runEvents }))
    const last = runs.at(-1)
    if (!last) return
    const places = placesOf(runs, order).filter(({ seq }) => !behind || isBehind(order, seq, behind.seq))
    const within = {
      from: new Date(Math.min(...runs.map(({ from_at }) => from_at.getTime()))),
      to: new Date(Math.max(...runs.map(({ to_at }) => to_at.getTime()))),
    }
    for (let i = 0; i < places.length; i += chunkEvents) {
      const slice = places.slice(i, i + chunkEvents)
      const events = { ...within, seqs: slice.map(({ seq }) => seq) }
      const rows = await read((tx) => selectSealed(tx, events, { tenant, query, order }))
      const bySeq = new Map(slice.map((place) => [place.seq, place]))
      const found = rows.map((row) => {
        const place = bySeq.get(row.seq)
        return { entry: toEntry(row, place), cursor: { seq: row.seq, run: place?.run } }
      })
      yield { found, end: slice.at(-1) }
    }
    // Positions have no gaps: the run behind this one begins, or ends, beside it.
    const next = order === 'newest first' ? Number(last.position) - 1 : Number(last.position) + last.seqs.length
    if (next === 0) return
    from = String(next)
  }
}

const isBehind = (order: AuditOrder, seq: string, other: string): boolean =>
  order === 'newest first' ? BigInt(seq) < BigInt(other) : BigInt(seq) > BigInt(other)

async function* readTail(read: Read, reading: AuditReading, sealedUpTo: bigint): AsyncGenerator<Chunk> {
  const { tenant, query, order, behind } = reading
  let last = behind?.seq
  for (;;) {
    const bound = last === undefined ? {} : order === 'newest first' ? { before: last } : { after: last }
    const page = { tenant, query, order, ...bound, limit: chunkEvents }
    const rows = await read((tx) => selectTail(tx, sealedUpTo, page))
    last = rows.at(-1)?.seq
    if (last === undefined) return
    const found = rows.map((row) => ({ entry: toEntry(row, undefined), cursor: { seq: row.seq, run: undefined } }))
    yield { found, end: { seq: last, run: undefined } }
    if (rows.length < chunkEvents) return
  }
}

interface Place extends AuditCursor {
  readonly position: number
  readonly hash: string
}

function placesOf(runs: readonly SealedRun[], order: AuditOrder): Place[] {
  return runs.flatMap(({ position: run, seqs, links }) => {
    const places = seqs.map((seq, i) => ({
      seq,
      run,
      position: Number(run) + i,
      hash: links.toString('hex', i * linkBytes, (i + 1) * linkBytes),
    }))
    return order === 'newest first' ? places.reverse() : places
  })
}

function toEntry(row: AuditRow, place: Place | undefined): AuditEntry {
  const { source, ...data } = row.payload
  const from = readSource(source)
  return {
    seq: row.seq,
    position: place?.position ?? null,
    hash: place?.hash ?? null,
    event_id: row.event_id,
    at: row.at.toISOString(),
    type: row.type,
    task_id: row.task_id && toWireId('task', row.task_id),
    operation: row.operation,
    target: row.target,
    actor: row.actor,
    source: from && { address: from.address, via: from.via, token_id: from.token_id, trace_id: from.trace_id },
    reason: from?.reason ?? text(data['comment']) ?? text(data['reason']),
    data,
  }
}

function readSource(source: unknown) {
  if (typeof source !== 'object' || source === null) return null
  const field = (name: string): string | null => text((source as Record<string, unknown>)[name])
  return {
    address: field('address'),
    via: field('via') ?? 'unknown',
    token_id: field('token_id'),
    trace_id: field('trace_id'),
    reason: field('reason'),
  }
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)
