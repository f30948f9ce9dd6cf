import { firstLink, linkBytes, linkOf } from './chain.ts'
import type { AuditFinding as Finding } from '../contract/audit.ts'
import type { FoundEvent, Rounds, SealRow } from './verify.sql.ts'

/** A place in one tenant's chain. */
export interface ChainPlace {
  readonly position: number
  /** Of everything up to here, in hexadecimal. */
  readonly hash: string
}

/** What one step of the walk looks at: the seals of some rounds, and the log between them, both whole. */
export interface Stretch extends Rounds {
  readonly seals: readonly SealRow[]
  readonly events: readonly FoundEvent[]
}

export interface ChainWalkOptions {
  /** Places that the chains are known to go through, by tenant. @default none */
  readonly heads?: ReadonlyMap<string, readonly ChainPlace[]>
  /** Where to begin, by tenant. @default before the first event */
  readonly begin?: ReadonlyMap<string, ChainPlace>
  /** Of the events before. @default none */
  readonly notedDrops?: ReadonlyMap<string, ChainPlace>
}

/** Walks along the chains of all tenants, a stretch at a time, and tells what does not fit. */
export interface ChainWalk {
  take(stretch: Stretch): Finding[]
  /** Where each chain has come to. */
  places(): Map<string, ChainPlace>
  /** The last drop that each tenant's log tells of. */
  readonly notedDrops: ReadonlyMap<string, ChainPlace>
  /** Places that were looked at. */
  readonly checked: number
}

interface Chain {
  readonly tenant: string
  position: number
  /** As the seal has it, also where it does not fit: what comes behind is judged on its own. Undefined: it is missing. */
  link: Buffer | undefined
}

interface Walk {
  readonly chains: Map<string, Chain>
  readonly heads: ReadonlyMap<string, readonly ChainPlace[]>
  readonly notedDrops: Map<string, ChainPlace>
  readonly findings: Finding[]
  checked: number
}

export function createChainWalk({
  heads = new Map(),
  begin = new Map(),
  notedDrops,
}: ChainWalkOptions = {}): ChainWalk {
  const walk: Walk = { chains: new Map(), heads, notedDrops: new Map(notedDrops), findings: [], checked: 0 }
  for (const [tenant, { position, hash }] of begin) {
    walk.chains.set(tenant, { tenant, position, link: Buffer.from(hash, 'hex') })
  }
  return {
    get checked() {
      return walk.checked
    },
    notedDrops: walk.notedDrops,
    places: () => new Map([...walk.chains].map(([tenant, chain]) => [tenant, placeOf(chain)])),
    take: (stretch) => {
      const events = new Map<string, FoundEvent>()
      // A number belongs to one event, although the partitioned table cannot promise it.
      const twice = stretch.events.filter((event) => events.has(event.seq) || !events.set(event.seq, event))
      for (const seal of stretch.seals) walkSeal(walk, seal, events)
      reportInserted(walk, [...twice, ...events.values()])
      return walk.findings.splice(0)
    },
  }
}

const placeOf = ({ position, link }: Chain): ChainPlace => ({ position, hash: link?.toString('hex') ?? '' })

/** Takes the events that have their place in it out of `events`. */
function walkSeal(walk: Walk, seal: SealRow, events: Map<string, FoundEvent>): void {
  const { tenant_id: tenant, seqs, links } = seal
  const chain = walk.chains.get(tenant) ?? { tenant, position: 0, link: firstLink }
  walk.chains.set(tenant, chain)
  const from = Number(seal.position)
  const to = from + Number(seal.events) - 1
  // Retention may have dropped what the walk has behind it already.
  if (seal.dropped === null ? from !== chain.position + 1 : from > chain.position + 1) {
    const detail = `Position ${chain.position + 1} is missing: the next seal begins at ${from}. Seals were removed or moved.`
    walk.findings.push({ tenant, kind: 'seal_missing', position: chain.position + 1, seq: seqs[0] ?? null, detail })
    chain.link = undefined
  }
  if (seal.dropped !== null) {
    if (to < chain.position) return
    chain.position = to
    chain.link = links
    compareHeads(walk, chain)
    return
  }
  if (seqs.length !== to - from + 1 || links.length !== seqs.length * linkBytes) {
    const detail = `The seal of positions ${from} to ${to} holds ${seqs.length} events: it was changed.`
    walk.findings.push({ tenant, kind: 'seal_unreadable', position: from, seq: seqs[0] ?? null, detail })
  }
  seqs.forEach((seq, i) => {
    const link = links.subarray(i * linkBytes, (i + 1) * linkBytes)
    chain.position = from + i
    const event = events.get(seq)
    if (event?.tenant_id === tenant) events.delete(seq)
    walkPlace(walk, chain, { seq, link, event: event?.tenant_id === tenant ? event : undefined })
  })
  chain.position = to
}

function walkPlace(
  walk: Walk,
  chain: Chain,
  { seq, link, event }: { readonly seq: string; readonly link: Buffer; readonly event: FoundEvent | undefined },
): void {
  const { tenant, position } = chain
  walk.checked++
  if (!event) {
    const detail = `The event ${seq} at position ${position} is gone from the log.`
    walk.findings.push({ tenant, kind: 'deleted', position, seq, detail })
  } else if (chain.link && !linkOf(chain.link, event, position).equals(link)) {
    const detail = `The event ${seq} at position ${position} is not what was sealed: it, or the seal, was changed.`
    walk.findings.push({ tenant, kind: 'changed', position, seq, detail })
  }
  chain.link = link
  if (event?.drop) walk.notedDrops.set(tenant, { position: event.drop.position, hash: event.drop.hash })
  compareHeads(walk, chain)
}

function compareHeads({ heads, findings }: Walk, { tenant, position, link }: Chain): void {
  for (const head of heads.get(tenant) ?? []) {
    if (head.position !== position || head.hash === link?.toString('hex')) continue
    const detail = `At position ${position} the chain is not the one whose head was kept: it was rewritten.`
    findings.push({ tenant, kind: 'head_differs', position, seq: null, detail })
  }
}

/** Events below what is sealed that stand in no seal: one finding for each tenant, however many they are. */
function reportInserted({ findings }: Walk, events: readonly FoundEvent[]): void {
  for (const [tenant, own] of Map.groupBy(events, ({ tenant_id }) => tenant_id)) {
    const [first, last] = [own[0]?.seq ?? null, own.at(-1)?.seq ?? null]
    const which = own.length === 1 ? `The event ${first} stands` : `${own.length} events from ${first} to ${last} stand`
    const detail = `${which} in no seal, and newer ones do: inserted behind the seal, or the seal was removed.`
    findings.push({ tenant, kind: 'inserted', position: null, seq: first, detail })
  }
}
