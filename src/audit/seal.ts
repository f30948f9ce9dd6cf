import type { Database, Transaction } from '../database/database.ts'
import { readLowWater } from '../database/low-water.sql.ts'
import { firstLink, linkOf } from './chain.ts'
import {
  insertSeals,
  type NewSeal,
  noteDropped,
  readChainEnds,
  readSealedUpTo,
  readUnsealed,
  selectUnnoted,
  takeSealing,
  type UnsealedEvent,
} from './seal.sql.ts'

export interface SealOptions {
  readonly database: Database
  /** Events per transaction, at most. @default 5_000 */
  readonly roundSize?: number
}

/** A stop of the worker waits no longer than these take, some 50 ms each; the rest is for the next call. */
const maxRounds = 20

/**
 * Seals what is below the low-water mark, in rounds. One process does at a time; no writer of events waits for it.
 * Returns how many events it sealed.
 */
export async function sealEvents(options: SealOptions): Promise<number> {
  const { database, roundSize = 5_000 } = options
  let sealed = 0
  for (let round = 0; round < maxRounds; round++) {
    const events = await database.transaction({ role: 'sluice_worker' }, (tx) => sealRound(database, tx, roundSize))
    sealed += events
    if (events < roundSize) break
  }
  return sealed
}

async function sealRound(database: Database, tx: Transaction, limit: number): Promise<number> {
  if (!(await takeSealing(tx))) return 0
  const after = await readSealedUpTo(tx)
  // Read after the lock and before the rows: up to here nothing can appear any more.
  const upTo = await readLowWater(database.pool)
  const events = await readUnsealed(tx, { after, upTo, limit })
  if (events.length === 0) return 0
  const round = events.length < limit ? upTo : BigInt(events.at(-1)?.seq ?? upTo)
  await insertSeals(tx, round, await sealsOf(tx, events))
  return events.length
}

async function sealsOf(tx: Transaction, events: readonly UnsealedEvent[]): Promise<NewSeal[]> {
  const byTenant = Map.groupBy(events, (event) => event.tenant_id)
  const ends = new Map((await readChainEnds(tx, [...byTenant.keys()])).map((end) => [end.tenant_id, end]))
  return [...byTenant].flatMap(([tenant, own]) => {
    const end = ends.get(tenant)
    return extendChain(own, end ? Number(end.position) : 0, end?.link ?? firstLink)
  })
}

/** One seal for each run of events of the same month: they are dropped with their partition. */
function extendChain(events: readonly UnsealedEvent[], endPosition: number, endLink: Buffer): NewSeal[] {
  const seals: NewSeal[] = []
  let position = endPosition
  let link = endLink
  for (const run of runsOfMonths(events)) {
    const links = run.map((event) => {
      position++
      link = linkOf(link, event, position)
      return link
    })
    const times = run.map(({ at }) => at.getTime())
    seals.push({
      tenant_id: run[0].tenant_id,
      position: position - run.length + 1,
      events: run.length,
      seqs: run.map(({ seq }) => seq),
      links: Buffer.concat(links).toString('hex'),
      from_at: new Date(Math.min(...times)),
      // The clock of JavaScript ends at milliseconds, that of PostgreSQL goes on.
      to_at: new Date(Math.max(...times) + 1),
    })
  }
  return seals
}

type Run = [UnsealedEvent, ...UnsealedEvent[]]

function runsOfMonths(events: readonly UnsealedEvent[]): Run[] {
  const runs: Run[] = []
  for (const event of events) {
    const run = runs.at(-1)
    if (run && monthOf(run[0].at) === monthOf(event.at)) run.push(event)
    else runs.push([event])
  }
  return runs
}

/** As the partitions of the log have it: by UTC. */
const monthOf = (at: Date): string => at.toISOString().slice(0, 7)

/** Writes into the tenants' logs what retention has dropped. */
export async function noteDrops(database: Database, by: string): Promise<void> {
  await database.transaction({ role: 'sluice_worker' }, async (tx) => {
    for (const { partition } of await selectUnnoted(tx)) await noteDropped(tx, partition, by)
  })
}
