import { describe, expect, test } from 'vitest'
import type { Cluster } from './cluster.ts'
import {
  ClusterServerError,
  ForbiddenError,
  ThrottledError,
  UnauthorizedError,
  UnreachableError,
} from './cluster-errors.ts'
import { FakeWatchSource } from './fake-watch-source.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { ManualClock, rest } from './manual-clock.ts'
import type { ReadinessRules } from './readiness.ts'
import { waitForReady } from './wait-for-ready.ts'
import { createWatchHub, type WatchEvent, type WatchHub } from './watch-hub.ts'

const rounds = Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50)
const target = { cluster: 'test', apiVersion: 'test.dev/v1', kind: 'Thing' }
const rules: ReadinessRules = { conditions: [{ type: 'Ready' }], failureReasons: [{ reason: 'Hopeless', graceMs: 0 }] }
const condition = (status: string, reason: string) => ({ status: { conditions: [{ type: 'Ready', status, reason }] } })

// From the last fault, or the decision, whichever is later: the longest delay, a list, and a stale read's minute.
const settledWithinMs = 150_000
const deadlineMs = 3_600_000

const fates = ['ready', 'fails', 'deleted', 'replaced', 'never'] as const
type Fate = (typeof fates)[number]
/** What may end a wait, by what was done to its object. */
const outcomes: Readonly<Record<Fate, readonly string[]>> = {
  ready: ['ready'],
  fails: ['resource_failed'],
  deleted: ['resource_gone'],
  replaced: ['resource_replaced', 'resource_gone'],
  never: ['timed_out'],
}

interface Subject {
  readonly name: string
  readonly fate: Fate
  applied?: KubernetesObject
  decidedAt?: number
  settled?: { readonly outcome: string; readonly at: number }
}

/** One history: objects change, the connection misbehaves, and waits must end as their objects did. */
class Round {
  readonly clock = new ManualClock()
  readonly source = new FakeWatchSource(this.clock)
  readonly random: () => number
  readonly hub: WatchHub
  readonly subjects: readonly Subject[]
  readonly state = new Map<string, KubernetesObject>()
  readonly violations: string[] = []
  lastFaultAt = this.clock.now()

  constructor(seed: number) {
    this.random = seeded(seed)
    // Far enough from zero for every rewind.
    this.source.version = 100_000
    this.source.streaming = this.pick(['offered', 'refused', 'overlooked'])
    this.source.expiry = this.pick(['http', 'event'])
    this.hub = createWatchHub({
      // The hub lists and watches; nothing else of a cluster is needed here.
      cluster: () => this.source as unknown as Cluster,
      clock: this.clock,
      random: this.random,
    })
    this.subjects = Array.from({ length: 8 }, (_, i) => ({ name: `subject-${i}`, fate: this.pick(fates) }))
  }

  async play(steps: number): Promise<void> {
    const observer = this.hub.subscribe(target, (event) => this.observe(event))
    for (let step = 0; step < steps; step += 1) {
      await this.clock.advance(this.random() * 15_000)
      const choice = this.random()
      if (choice < 0.35) this.fault()
      else if (choice < 0.8) this.moveOn(this.pick(this.subjects))
      else this.makeNoise()
    }
    for (const subject of this.subjects) while (!isDecided(subject)) this.moveOn(subject)
    this.source.heal()
    this.lastFaultAt = this.clock.now()
    await this.clock.advance(settledWithinMs)
    this.compareStates()
    await this.clock.advance(deadlineMs)
    this.compareStates()
    observer.unsubscribe()
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[Math.floor(this.random() * choices.length)]
    if (choice === undefined) throw new Error('nothing to pick from')
    return choice
  }

  /** The next thing that happens to an object: it is made and waited for, it works, its fate comes. */
  moveOn(subject: Subject): void {
    if (!subject.applied) {
      subject.applied = this.source.put(subject.name, { spec: 1 })
      this.wait(subject, subject.applied)
    } else if (!isDecided(subject)) {
      if (this.random() < 0.5) this.source.put(subject.name, condition('False', this.pick(['Working', 'Pending'])))
      else this.decide(subject)
    }
  }

  decide(subject: Subject): void {
    subject.decidedAt = this.clock.now()
    if (subject.fate === 'ready') this.source.put(subject.name, condition('True', 'Up'))
    if (subject.fate === 'fails') this.source.put(subject.name, condition('False', 'Hopeless'))
    if (subject.fate === 'deleted' || subject.fate === 'replaced') this.source.remove(subject.name)
    if (subject.fate === 'replaced') this.source.put(subject.name, condition('True', 'Up'))
  }

  wait(subject: Subject, applied: KubernetesObject): void {
    const settle = (outcome: string): void => {
      subject.settled = { outcome, at: this.clock.now() }
    }
    waitForReady({
      hub: this.hub,
      cluster: 'test',
      ref: { apiVersion: target.apiVersion, kind: target.kind, name: subject.name },
      rules,
      // Also the wait of somebody who knows no more than the uid.
      ...(this.random() < 0.5 ? { applied } : { pin: { uid: applied.metadata.uid } }),
      timeoutMs: deadlineMs,
      clock: this.clock,
    }).then(
      () => settle('ready'),
      (error: unknown) => settle(String((error as { code?: unknown }).code)),
    )
  }

  makeNoise(): void {
    const name = `noise-${Math.floor(this.random() * 5)}`
    if (this.random() < 0.3) this.source.remove(name)
    else this.source.put(name, { status: this.random() })
  }

  fault(): void {
    this.lastFaultAt = this.clock.now()
    const { source } = this
    this.pick([
      () => source.cut(),
      () => source.end(),
      () => source.silence(),
      () => source.loseNext(),
      () => source.garble(),
      () => source.expire({ openToo: this.random() < 0.5 }),
      () => source.endAtOnce(1 + Math.floor(this.random() * 5)),
      () => source.rewind(Math.floor(this.random() * 40)),
      () => source.hang(...this.pick([['list'], ['watch'], ['list', 'watch']] as const)),
      () => source.hang(),
      () => {
        for (let i = this.random() * 4; i > 0; i -= 1) source.failNext(this.pick(['list', 'watch']), this.anError())
        source.cut()
      },
    ])()
  }

  anError(): Error {
    return this.pick([
      new ClusterServerError('500'),
      new UnreachableError('ECONNRESET'),
      new ForbiddenError('403'),
      new UnauthorizedError('401'),
      new ThrottledError('429', { retryAfterMs: this.random() * 20_000 }),
      new Error('what nobody thought of'),
    ])
  }

  /** Every change once, in an order that makes sense. */
  observe(event: WatchEvent): void {
    if (event.type === 'synced') return
    const { object, type } = event
    const known = this.state.get(object.metadata.name)
    if (type === 'deleted') this.state.delete(object.metadata.name)
    else this.state.set(object.metadata.name, object)
    const wrong =
      type === 'added' || type === 'snapshot'
        ? known !== undefined
        : known?.metadata.uid !== object.metadata.uid ||
          (type === 'modified' && JSON.stringify(known) === JSON.stringify(object))
    if (wrong) this.violations.push(`${type} ${object.metadata.name} after ${known?.metadata.uid ?? 'nothing'}`)
  }

  compareStates(): void {
    const brief = (objects: Iterable<KubernetesObject>): string[] =>
      [...objects].map(({ metadata }) => `${metadata.name} ${metadata.uid} ${metadata.resourceVersion}`).toSorted()
    expect(brief(this.state.values())).toEqual(brief(this.source.objects.values()))
  }
}

const isDecided = ({ decidedAt }: Subject): boolean => decidedAt !== undefined

/** Small and fast; the same numbers for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

describe(`seeded faults, ${rounds} rounds`, () => {
  test(
    'no terminal condition is missed, nothing is told twice, every wait settles and leaves nothing',
    { timeout: 600_000 },
    async () => {
      for (let seed = 1; seed <= rounds; seed += 1) {
        const round = new Round(seed)
        await round.play(60)
        for (const { fate, settled, decidedAt = 0, name } of round.subjects) {
          const where = `seed ${seed}, ${name}, ${fate}`
          expect(outcomes[fate], where).toContain(settled?.outcome)
          if (fate === 'never') continue
          const late = (settled?.at ?? Number.POSITIVE_INFINITY) - Math.max(decidedAt, round.lastFaultAt)
          expect(late, where).toBeLessThanOrEqual(settledWithinMs)
        }
        expect(round.violations, `seed ${seed}`).toEqual([])
        await round.clock.advance(30_000)
        expect(round.hub.stats(), `seed ${seed}`).toMatchObject({ upstreams: 0, subscribers: 0 })
        // The fake's own bookmark timer is all that is left.
        expect(round.clock.pending, `seed ${seed}`).toBe(1)
      }
    },
  )
})

describe('half-open connections', () => {
  test('ready to told: within 60 s, always', async () => {
    let worst = 0
    for (let seed = 1; seed <= rounds; seed += 1) {
      const round = new Round(seed)
      const subject: Subject = { name: 'a', fate: 'ready' }
      round.moveOn(subject)
      await round.clock.advance(round.random() * 60_000)
      round.source.silence()
      await round.clock.advance(round.random() * 60_000)
      round.source.silence()
      round.decide(subject)
      await round.clock.advance(120_000)
      worst = Math.max(worst, (subject.settled?.at ?? Number.POSITIVE_INFINITY) - (subject.decidedAt ?? 0))
      await round.hub.stop()
      await rest()
    }
    expect(worst).toBeLessThanOrEqual(60_000)
  })
})
