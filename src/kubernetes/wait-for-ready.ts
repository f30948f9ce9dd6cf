import { type Clock, systemClock } from './clock.ts'
import { describeRef, type KubernetesObject, type ObjectRef } from './kubernetes-object.ts'
import {
  createReadinessTracker,
  deletionRules,
  dnsZoneReadiness,
  needsWholeObject,
  projectReadiness,
  type Readiness,
  type ReadinessPin,
  type ReadinessRules,
  type ReadinessTracker,
  rulesForKind,
  virtualMachineReadiness,
} from './readiness.ts'
import {
  continueWaiting,
  resolveWith,
  waitForWatch,
  type WatchDecision,
  type WatchSubscription,
} from './wait-for-watch.ts'
import type { WatchEvent, WatchHub } from './watch-hub.ts'

export type { KubernetesObject } from './kubernetes-object.ts'
export type { WatchEvent, WatchTarget } from './watch-hub.ts'

/** What a wait needs of a hub: a worker's own, or a browser's over its live connection. */
export type WaitHub = Pick<WatchHub, 'subscribe' | 'basePathFor'>

/** Where a wait looks, and how long. The same for every kind. */
export interface WaitContext {
  readonly hub: WaitHub
  /** @default 'default' */
  readonly cluster?: string | undefined
  /** @default '', or for the waits of one kind what the cluster's template says */
  readonly basePath?: string | undefined
  readonly identity?: string | undefined
  /** Milliseconds until the wait is rejected with `timed_out`. @default 300_000 */
  readonly timeoutMs?: number | undefined
  /** Rejects the wait with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Explains a failure, a timeout, and a wait of more than 15 s: see `diagnose`. Has 5 s. */
  readonly diagnose?: ((object: KubernetesObject, signal: AbortSignal) => Promise<string | undefined>) | undefined
  /** Called when the reason for waiting changes. */
  readonly onPending?: ((reason: string, message: string | undefined) => void) | undefined
  readonly clock?: Clock | undefined
}

export interface ReadyWaitOptions extends WaitContext {
  readonly ref: ObjectRef
  /** @default what is known of the kind, else condition Ready=True */
  readonly rules?: ReadinessRules | undefined
  /** What the apply answered: judged first, and its uid, generation and resourceVersion pinned. */
  readonly applied?: KubernetesObject | undefined
  /** Instead of `applied`, when only these are known. */
  readonly pin?: ReadinessPin | undefined
}

export type NotReadyCode = 'resource_failed' | 'terminating' | 'resource_gone' | 'resource_replaced' | 'timed_out'

/** The wait ended, and the object is not ready. */
export class NotReadyError extends Error {
  readonly code: NotReadyCode
  /** The reason that the object gave last. */
  readonly reason: string
  /** Its last known state. */
  readonly object: KubernetesObject | undefined
  constructor(
    message: string,
    details: { readonly code: NotReadyCode; readonly reason: string; readonly object: KubernetesObject | undefined },
  ) {
    super(message)
    this.name = 'NotReadyError'
    this.code = details.code
    this.reason = details.reason
    this.object = details.object
  }
}

/** Waits until the object is ready, and returns it. Throws `NotReadyError`, or the signal's reason. */
export async function waitForReady(options: ReadyWaitOptions): Promise<KubernetesObject> {
  const outcome = await new ReadinessWait(options).run()
  if (outcome.object) return outcome.object
  // Only the rule `absent` is fulfilled by no object.
  throw new TypeError('Rules with `absent` belong to waitForDeleted.')
}

/** Waits until the object, with that uid, is gone; a namesake made since then counts as gone. */
export async function waitForDeleted(
  options: Omit<ReadyWaitOptions, 'rules' | 'applied' | 'pin'> & { readonly uid?: string | undefined },
): Promise<void> {
  await new ReadinessWait({ ...options, rules: deletionRules, pin: { uid: options.uid } }).run()
}

/** Waits until a Project of an organization is Ready. */
export function waitForProjectReady(orgId: string, name: string, options: KindWaitOptions): Promise<KubernetesObject> {
  return waitForReady({
    ...options,
    basePath: options.basePath ?? basePathOf(options, { org: orgId }),
    ref: { apiVersion: 'resourcemanager.miloapis.com/v1alpha1', kind: 'Project', name },
    rules: projectReadiness,
  })
}

/** Waits until a DNSZone of a project is Accepted and Programmed. */
export function waitForDnsZoneReady(
  projectId: string,
  name: string,
  options: KindWaitOptions & { /** @default 'default' */ readonly namespace?: string },
): Promise<KubernetesObject> {
  return waitForReady({
    ...options,
    basePath: options.basePath ?? basePathOf(options, { project: projectId }),
    ref: {
      apiVersion: 'dns.networking.miloapis.com/v1alpha1',
      kind: 'DNSZone',
      namespace: options.namespace ?? 'default',
      name,
    },
    rules: dnsZoneReadiness,
  })
}

/** Waits until a VirtualMachine runs, or is stopped: as its run strategy wants it. */
export function waitForVirtualMachineReady(
  namespace: string,
  name: string,
  options: KindWaitOptions,
): Promise<KubernetesObject> {
  return waitForReady({
    ...options,
    ref: { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', namespace, name },
    rules: virtualMachineReadiness,
  })
}

export type KindWaitOptions = Omit<ReadyWaitOptions, 'ref' | 'rules'>

function basePathOf({ hub, cluster = 'default' }: WaitContext, variables: Record<string, string>): string {
  return hub.basePathFor(cluster, variables)
}

interface Outcome {
  readonly readiness: Exclude<Readiness, { state: 'pending' }>
  readonly object: KubernetesObject | undefined
}

type WaitEvent = WatchEvent | { readonly type: 'recheck' }

const explainAfterMs = 15_000
// Less than what waitForWatch grants for looking around.
const explainMs = 4_000

class ReadinessWait {
  readonly #options: ReadyWaitOptions
  readonly #clock: Clock
  readonly #tracker: ReadinessTracker
  readonly #whole: boolean
  #object: KubernetesObject | undefined
  #reason = 'NotSeen'
  #message: string | undefined = 'The cluster has not told its state yet.'
  /** Why the cluster cannot be read, while it cannot. */
  #outage: string | undefined
  #cancelRecheck: () => void = () => {}
  #recheck: () => void = () => {}

  constructor(options: ReadyWaitOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    const { applied, ref } = options
    const pin = applied ? pinOf(applied) : (options.pin ?? {})
    const rules = options.rules ?? rulesForKind(ref.apiVersion, ref.kind)
    this.#tracker = createReadinessTracker(rules, pin)
    this.#whole = needsWholeObject(rules)
  }

  async run(): Promise<Outcome> {
    const { applied, signal, timeoutMs } = this.#options
    signal?.throwIfAborted()
    this.#object = applied
    const first = applied && this.#decide(this.#tracker.evaluate(applied, this.#clock.now()))
    const outcome =
      first?.decision === 'resolve'
        ? first.value
        : await waitForWatch<Outcome, WaitEvent>({
            subscribe: (listener) => this.#subscribe(listener),
            onEvent: (event) => this.#onEvent(event),
            onTimeout: () => this.#timedOut(),
            timeoutMs,
            signal,
            clock: this.#clock,
          })
    if (outcome.readiness.state === 'ready') return outcome
    throw await this.#failed(outcome.readiness)
  }

  #subscribe(listener: (event: WaitEvent) => void): WatchSubscription {
    const { hub, cluster = 'default', ref, basePath, identity } = this.#options
    const { apiVersion, kind, namespace, name } = ref
    const whole = this.#whole
    this.#recheck = () => listener({ type: 'recheck' })
    const subscription = hub.subscribe(
      { cluster, apiVersion, kind, namespace, name, basePath, identity, whole },
      (event) => {
        this.#outage = undefined
        listener(event)
      },
      (error) => {
        this.#outage = error.message
      },
    )
    const stopExplaining = this.#explainLater()
    return {
      unsubscribe: () => {
        this.#cancelRecheck()
        stopExplaining()
        subscription.unsubscribe()
      },
    }
  }

  #onEvent(event: WaitEvent): WatchDecision<Outcome> {
    const now = this.#clock.now()
    if (event.type === 'recheck') return this.#decide(this.#tracker.recheck(now))
    if (event.type !== 'synced') this.#object = event.object
    return this.#decide(this.#tracker.take(event, now))
  }

  #decide(readiness: Readiness): WatchDecision<Outcome> {
    this.#cancelRecheck()
    if (readiness.state !== 'pending') return resolveWith({ readiness, object: this.#object })
    const { reason, message, recheckAt } = readiness
    if (recheckAt !== undefined) {
      this.#cancelRecheck = this.#clock.after(recheckAt - this.#clock.now(), () => this.#recheck())
    }
    if (reason !== this.#reason || message !== this.#message) this.#options.onPending?.(reason, message)
    this.#reason = reason
    this.#message = message
    return continueWaiting
  }

  /** What takes long deserves an explanation before it fails. */
  #explainLater(): () => void {
    const { onPending } = this.#options
    if (!onPending) return () => {}
    let over = false
    const cancel = this.#clock.after(explainAfterMs, () => {
      this.#explain().then(
        (why) => {
          if (why && !over) onPending(this.#reason, [this.#message, why].filter(Boolean).join(' '))
        },
        () => {},
      )
    })
    return () => {
      over = true
      cancel()
    }
  }

  /** Never rejects, never takes longer than 5 s. */
  async #explain(): Promise<string | undefined> {
    const { diagnose, signal } = this.#options
    if (!diagnose || !this.#object) return undefined
    const { promise: late, resolve } = Promise.withResolvers<undefined>()
    const abort = new AbortController()
    const giveUp = (): void => {
      abort.abort()
      resolve(undefined)
    }
    const cancel = this.#clock.after(explainMs, giveUp)
    signal?.addEventListener('abort', giveUp, { once: true })
    try {
      return await Promise.race([diagnose(this.#object, abort.signal).catch(() => undefined), late])
    } catch {
      return undefined
    } finally {
      cancel()
      signal?.removeEventListener('abort', giveUp)
    }
  }

  async #failed(readiness: Exclude<Outcome['readiness'], { state: 'ready' }>): Promise<Error> {
    const what = describeRef(this.#options.ref)
    const because = (text: string, code: NotReadyCode, reason: string): NotReadyError =>
      new NotReadyError(text, { code, reason, object: this.#object })
    switch (readiness.state) {
      case 'gone':
        return because(`${what} was deleted while it was waited for.`, 'resource_gone', 'Deleted')
      case 'replaced':
        return because(
          `${what} was deleted and made again by somebody else while it was waited for.`,
          'resource_replaced',
          'Replaced',
        )
      case 'failed': {
        const { code, reason, message } = readiness
        const why = code === 'terminating' ? undefined : await this.#explain()
        return because(joinSentences(`${what} failed: ${reason}.`, message, why), code, reason)
      }
    }
  }

  async #timedOut(): Promise<Error> {
    const { ref, timeoutMs = 300_000 } = this.#options
    const why = this.#outage === undefined ? await this.#explain() : `The cluster cannot be read: ${this.#outage}`
    const text = `${describeRef(ref)} is not ready after ${Math.round(timeoutMs / 1000)} s (last: ${this.#reason}).`
    return new NotReadyError(joinSentences(text, this.#message, why), {
      code: 'timed_out',
      reason: this.#reason,
      object: this.#object,
    })
  }
}

function pinOf({ metadata }: KubernetesObject): ReadinessPin {
  const { uid, generation, resourceVersion } = metadata
  return { uid, generation, resourceVersion }
}

function joinSentences(...parts: readonly (string | undefined)[]): string {
  return parts
    .filter((part) => part !== undefined && part !== '')
    .map((part) => (/[.!?…]$/.test(part ?? '') ? part : `${part}.`))
    .join(' ')
}
