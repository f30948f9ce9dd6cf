import type { RequestTarget } from './api-request.ts'
import type { SimulatedClock } from './clock.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { namespaceOf } from './kubernetes-object.ts'
import { expired, StatusError } from './status-error.ts'
import type { WatchStream } from './watch-stream.ts'

/** Which requests or watches a fault hits; what is left out matches all. */
export interface FaultMatch {
  readonly verb?: RequestTarget['verb']
  /** The plural, such as `projects`. */
  readonly resource?: string
  readonly namespace?: string
  readonly name?: string
}

/** How long a fault lasts. Without either: one request. */
export interface FaultLimit {
  /** Requests. */
  readonly count?: number
  /** Milliseconds. */
  readonly forMs?: number
}

export type ControllerMode = 'fail' | 'stall' | 'flap' | 'deleteAndRecreate'

export interface ControllerFault {
  readonly mode: ControllerMode
  /** The kind or its plural; absent: every kind. */
  readonly kind?: string
  readonly namespace?: string
  readonly name?: string
  /** The reason written with `fail`. @default the kind's own */
  readonly reason?: string
  /** Milliseconds between two turns of `flap`. @default 200 */
  readonly everyMs?: number
}

export interface ActiveFault {
  readonly id: number
  readonly fault: string
  readonly detail: Readonly<Record<string, unknown>>
}

/** Makes the cluster misbehave as real ones do. Every method can be called at any moment. */
export interface FaultInjector {
  /** Destroys the sockets of open watches. Returns how many. */
  cut(match?: FaultMatch): number
  /** Open watches send nothing any more, and keep their sockets. Returns how many. */
  halfOpen(match?: FaultMatch): number
  /** Open watches get an ERROR event 410 and end; older versions get 410 from now on. Returns how many. */
  gone410(match?: FaultMatch): number
  tooManyRequests(options?: FaultMatch & FaultLimit & { readonly retryAfter?: number }): () => void
  error500(options?: FaultMatch & FaultLimit): () => void
  /** Answers, and the next line of open watches, are cut in the middle of their JSON. */
  malformedJson(options?: FaultMatch & FaultLimit): () => void
  /** Answers wait. @default until taken back */
  slow(ms: number, options?: FaultMatch & FaultLimit): () => void
  /** Every connection breaks, watch history is lost, and for `downMs` nobody gets in. Objects stay. @default 0 */
  restart(options?: { readonly downMs?: number }): void
  /** As if an older backup had been restored: every connection breaks and the counter falls back. @default 10_000 */
  futureResourceVersion(options?: { readonly by?: number }): void
  /** Controllers misbehave until it is taken back. */
  controller(fault: ControllerFault): () => void
  active(): readonly ActiveFault[]
  /** Takes back whatever lasts. */
  clear(): void
}

/** What a fault does to one request. */
export type RequestFault =
  | { readonly kind: 'refuse'; readonly error: StatusError; readonly headers: Readonly<Record<string, string>> }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'delay'; readonly ms: number }

export interface FaultTargets {
  readonly watches: () => Iterable<WatchStream>
  readonly dropHistory: () => void
  readonly rewind: (by: number) => void
  readonly breakConnections: (downMs: number) => void
  readonly controllersChanged: () => void
}

interface Rule {
  readonly id: number
  readonly fault: string
  readonly match: FaultMatch
  readonly effect: RequestFault
  readonly until: number
  remaining: number
}

export class Faults implements FaultInjector {
  readonly #targets: FaultTargets
  readonly #clock: SimulatedClock
  readonly #rules = new Map<number, Rule>()
  readonly #controllerFaults = new Map<number, ControllerFault>()
  #nextId = 1

  constructor(targets: FaultTargets, clock: SimulatedClock) {
    this.#targets = targets
    this.#clock = clock
  }

  cut(match: FaultMatch = {}): number {
    return this.#eachWatch(match, (watch) => watch.destroy())
  }

  halfOpen(match: FaultMatch = {}): number {
    return this.#eachWatch(match, (watch) => watch.silence())
  }

  gone410(match: FaultMatch = {}): number {
    this.#targets.dropHistory()
    const status = expired('The resourceVersion for the provided watch is too old.').toStatus()
    return this.#eachWatch(match, (watch) => watch.fail(status))
  }

  tooManyRequests(options: FaultMatch & FaultLimit & { readonly retryAfter?: number } = {}): () => void {
    const retryAfter = options.retryAfter ?? 1
    const error = new StatusError({
      code: 429,
      reason: 'TooManyRequests',
      message: 'The apiserver is temporarily unable to handle the request: too many requests, please try again later.',
      details: { retryAfterSeconds: retryAfter },
    })
    return this.#add('tooManyRequests', options, { kind: 'refuse', error, headers: { 'retry-after': `${retryAfter}` } })
  }

  error500(options: FaultMatch & FaultLimit = {}): () => void {
    const error = new StatusError({
      code: 500,
      reason: 'InternalError',
      message: 'Internal error occurred: etcdserver: request timed out',
      details: { causes: [{ message: 'etcdserver: request timed out' }] },
    })
    return this.#add('error500', options, { kind: 'refuse', error, headers: {} })
  }

  malformedJson(options: FaultMatch & FaultLimit = {}): () => void {
    this.#eachWatch(options, (watch) => watch.sendRaw('{"type":"MODIFIED","object":{"kind":\n'))
    return this.#add('malformedJson', options, { kind: 'malformed' })
  }

  slow(ms: number, options: FaultMatch & FaultLimit = {}): () => void {
    const limited = options.count === undefined && options.forMs === undefined
    return this.#add('slow', limited ? { ...options, count: Infinity } : options, { kind: 'delay', ms })
  }

  restart(options: { readonly downMs?: number } = {}): void {
    this.#targets.dropHistory()
    this.#targets.breakConnections(options.downMs ?? 0)
  }

  futureResourceVersion(options: { readonly by?: number } = {}): void {
    this.#targets.rewind(options.by ?? 10_000)
    this.#targets.breakConnections(0)
  }

  controller(fault: ControllerFault): () => void {
    const id = this.#nextId++
    this.#controllerFaults.set(id, fault)
    this.#targets.controllersChanged()
    return () => {
      if (this.#controllerFaults.delete(id)) this.#targets.controllersChanged()
    }
  }

  active(): readonly ActiveFault[] {
    this.#expire()
    const rules = [...this.#rules.values()].map(({ id, fault, match, remaining }) => {
      const left = Number.isFinite(remaining) ? { remaining } : {}
      return { id, fault, detail: { ...match, ...left } }
    })
    const controllers = [...this.#controllerFaults].map(([id, fault]) => ({
      id,
      fault: 'controller',
      detail: { ...fault },
    }))
    return [...rules, ...controllers]
  }

  clear(): void {
    this.#rules.clear()
    this.#controllerFaults.clear()
    this.#targets.controllersChanged()
  }

  /** What happens to this request; a fault that counts requests counts it. */
  meet(target: RequestTarget): readonly RequestFault[] {
    if (this.#rules.size === 0) return []
    this.#expire()
    const met: RequestFault[] = []
    for (const rule of this.#rules.values()) {
      if (!matches(rule.match, target)) continue
      met.push(rule.effect)
      rule.remaining -= 1
      if (rule.remaining <= 0) this.#rules.delete(rule.id)
      // The first refusal answers the request; the next rule waits for the next request.
      if (rule.effect.kind !== 'delay') break
    }
    return met
  }

  controllerFault(object: KubernetesObject, plural: string): ControllerFault | undefined {
    for (const fault of this.#controllerFaults.values()) {
      if (fault.kind !== undefined && fault.kind !== object.kind && fault.kind !== plural) continue
      if (fault.name !== undefined && fault.name !== object.metadata.name) continue
      if (fault.namespace !== undefined && fault.namespace !== namespaceOf(object)) continue
      return fault
    }
    return undefined
  }

  #add(fault: string, options: FaultMatch & FaultLimit, effect: RequestFault): () => void {
    const { count, forMs, ...match } = options
    const id = this.#nextId++
    const remaining = count ?? (forMs === undefined ? 1 : Infinity)
    const until = forMs === undefined ? Infinity : this.#clock.now() + forMs
    this.#rules.set(id, { id, fault, match, effect, until, remaining })
    return () => this.#rules.delete(id)
  }

  #expire(): void {
    const now = this.#clock.now()
    for (const [id, rule] of this.#rules) if (rule.until <= now) this.#rules.delete(id)
  }

  #eachWatch(match: FaultMatch, act: (watch: WatchStream) => void): number {
    const hit = [...this.#targets.watches()].filter((watch) => matches(match, watch.target))
    for (const watch of hit) act(watch)
    return hit.length
  }
}

function matches(match: FaultMatch, target: RequestTarget): boolean {
  return (
    (match.verb === undefined || match.verb === target.verb) &&
    (match.resource === undefined || match.resource === target.resource) &&
    (match.namespace === undefined || match.namespace === target.namespace) &&
    (match.name === undefined || match.name === target.name)
  )
}
