import type { Database, Transaction } from '../database/database.ts'
import { type ChainPlace, type ChainWalk, createChainWalk, type Stretch } from './chain-walk.ts'
import type { AuditFinding as Finding } from '../contract/audit.ts'
import {
  allDropsNoted,
  holdLog,
  readChained,
  readFalseCheckpoints,
  readLastCheckpoints,
  readNextRound,
  readSeals,
  readTail,
  type Rounds,
} from './verify.sql.ts'

export interface VerifyOptions {
  readonly database: Database
  /** Without it all tenants at once. */
  readonly tenant?: string | undefined
  /** Heads that were kept elsewhere, by tenant. @default none */
  readonly heads?: ReadonlyMap<string, readonly ChainPlace[]>
  /** Where an earlier call stopped. @default at the beginning */
  readonly from?: VerifyPosition | undefined
  /** Milliseconds after which it stops and says where. @default when all is verified */
  readonly budgetMs?: number
}

export interface VerifyPosition {
  readonly round: bigint
  readonly places: ReadonlyMap<string, ChainPlace>
  readonly notedDrops: ReadonlyMap<string, ChainPlace>
}

export interface Verified {
  /** Places in the chains that were looked at. */
  readonly events: number
  readonly findings: readonly Finding[]
  /** Where to go on; undefined when everything that is sealed was verified. */
  readonly next: VerifyPosition | undefined
  /** The ends of the chains so far. */
  readonly places: ReadonlyMap<string, ChainPlace>
  /** What is too new to be sealed; known at the end. */
  readonly tail: { readonly events: number; readonly oldest: Date | null }
}

/** Events that are looked at together. */
const stretchEvents = 10_000
/** Read at once: the hashes of the payloads are PostgreSQL’s work, and the greater part. */
const stretchesAhead = 2

/** Compares the log with its seals, from the beginning of the chains to their ends. Reads, and holds nobody up. */
export async function verifyAudit(options: VerifyOptions): Promise<Verified> {
  const { tenant, from, heads, budgetMs = Number.POSITIVE_INFINITY } = options
  const walk = createChainWalk({
    ...(heads && { heads }),
    ...(from && { begin: from.places, notedDrops: from.notedDrops }),
  })
  const findings: Finding[] = []
  const stopAt = performance.now() + budgetMs
  let round = from?.round ?? 0n
  const ahead: Promise<Stretch>[] = []
  let planned: bigint | undefined = round
  // PostgreSQL reads the next stretches while this one is walked.
  const readAhead = async (): Promise<void> => {
    while (planned !== undefined && ahead.length < stretchesAhead) {
      const after: bigint = planned
      planned = await reading(options, (tx) => readNextRound(tx, { tenant, after, events: stretchEvents }))
      if (planned !== undefined) ahead.push(readStretch(options, { after, upTo: planned }))
    }
  }
  for (;;) {
    await readAhead()
    const stretch = await ahead.shift()
    if (!stretch) break
    const late = performance.now() > stopAt
    if (!late) await readAhead()
    findings.push(...walk.take(stretch))
    round = stretch.upTo
    if (late) {
      await Promise.allSettled(ahead)
      const places = walk.places()
      const next = { round, places, notedDrops: walk.notedDrops }
      return { events: walk.checked, findings, next, places, tail: { events: 0, oldest: null } }
    }
  }
  const end = await reading(options, async (tx) => ({
    findings: [...missedHeads(options, walk), ...(await falseCheckpoints(tx, walk, { tenant, round }))],
    tail: await readTail(tx, { tenant, after: round }),
  }))
  findings.push(...end.findings)
  return { events: walk.checked, findings, next: undefined, places: walk.places(), tail: end.tail }
}

/** One tenant is read as the API; all of them as who may read all. */
function reading<T>({ database, tenant }: VerifyOptions, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const scope = tenant === undefined ? { role: 'sluice_feed' as const } : { role: 'sluice_api' as const, tenant }
  return database.transaction({ ...scope, readOnly: true }, work)
}

function readStretch(options: VerifyOptions, rounds: Rounds): Promise<Stretch> {
  const reach = { ...rounds, tenant: options.tenant }
  const stretch = reading(options, async (tx) => {
    await holdLog(tx)
    return { ...rounds, seals: await readSeals(tx, reach), events: await readChained(tx, reach) }
  })
  // Awaited when those before it are done: until then nobody listens.
  stretch.catch(() => undefined)
  return stretch
}

/** A head behind the end of its chain: somebody cut the chain off, seals and all. */
function missedHeads({ heads = new Map(), tenant: only }: VerifyOptions, walk: ChainWalk): Finding[] {
  const places = walk.places()
  return [...heads].flatMap(([tenant, kept]) => {
    const end = places.get(tenant)?.position ?? 0
    const furthest = Math.max(0, ...kept.map(({ position }) => position))
    if (furthest <= end || (only !== undefined && only !== tenant)) return []
    const detail = `The chain ends at position ${end}; a head at ${furthest} was kept. What stood behind was cut off.`
    return [{ tenant, kind: 'cut' as const, position: end + 1, seq: null, detail }]
  })
}

/** What is gone must have been dropped by retention: with its partition, and told in the tenant's log. */
async function falseCheckpoints(
  tx: Transaction,
  walk: ChainWalk,
  { tenant: only, round }: { readonly tenant: string | undefined; readonly round: bigint },
): Promise<Finding[]> {
  const claimed = (await readFalseCheckpoints(tx, only)).map(({ tenant_id: tenant, position, partition }) => ({
    tenant,
    kind: 'checkpoint_false' as const,
    position: Number(position),
    seq: null,
    detail: `Positions from ${position} on are said to have been dropped with ${partition}, which retention did not drop.`,
  }))
  if (!(await allDropsNoted(tx, round))) return claimed
  const untold = (await readLastCheckpoints(tx, only)).flatMap(({ tenant_id: tenant, position, hash }) => {
    const noted = walk.notedDrops.get(tenant)
    if (noted && noted.position === Number(position) && noted.hash === hash) return []
    const detail = `The chain is said to have been dropped up to position ${position}, and the log does not tell of it.`
    return [{ tenant, kind: 'checkpoint_false' as const, position: Number(position), seq: null, detail }]
  })
  return [...claimed, ...untold]
}
