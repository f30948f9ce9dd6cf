import { compareVersions, type KubernetesObject } from './kubernetes-object.ts'
import { evaluateExpression } from './readiness-expression.ts'
import {
  type Condition,
  conditionsOf,
  type Failure,
  fieldsOf,
  type Missing,
  numberOf,
  readinessPresets,
} from './readiness-presets.ts'
import { defaultGraceMs, type Freshness, type ReadinessRules } from './readiness-rules.ts'

export {
  deletionRules,
  deploymentReadiness,
  dnsZoneReadiness,
  existsRules,
  jobReadiness,
  needsWholeObject,
  podReadiness,
  projectReadiness,
  type ReadinessRules,
  readinessRulesSchema,
  rulesForKind,
  virtualMachineReadiness,
} from './readiness-rules.ts'
export { checkExpression } from './readiness-expression.ts'

/** What the apply answered: the object that is waited for, and from when on its status speaks of our change. */
export interface ReadinessPin {
  readonly uid?: string | undefined
  readonly generation?: number | undefined
  /** States older than this are a stale read. */
  readonly resourceVersion?: string | undefined
}

export interface ReadinessTimes {
  /** Milliseconds since the epoch. */
  readonly now: number
  /**
   * When the failure that the object shows was seen first, by our own clock (a cluster's clock may be minutes off).
   * Who does not know gives the start of the wait; `createReadinessTracker` knows.
   */
  readonly firstSeenAt: number
}

export type Readiness =
  | { readonly state: 'ready' }
  | {
      readonly state: 'pending'
      readonly reason: string
      readonly message?: string
      /** A failure in its grace period becomes one at this time, and no event will say so: look again then. */
      readonly recheckAt?: number
    }
  | {
      readonly state: 'failed'
      readonly code: 'resource_failed' | 'terminating'
      readonly reason: string
      readonly message: string
    }
  /** Deleted while it was waited for. */
  | { readonly state: 'gone' }
  /** An object with another uid has its name. */
  | { readonly state: 'replaced' }

/**
 * Says what an object's state means. Stricter than `kubectl wait`: a missing status is pending, a namesake is not the
 * object, a declared failure ends the wait; and more patient: Ready=False alone is progress.
 *
 * @param object as it is now; `undefined` when there is none
 */
export function evaluateReadiness(
  object: KubernetesObject | undefined,
  rules: ReadinessRules,
  pin: ReadinessPin,
  { now, firstSeenAt }: ReadinessTimes,
): Readiness {
  const judgement = judge(object, rules, pin)
  return judgement.kind === 'decided' ? judgement.readiness : weigh(judgement, now, () => firstSeenAt)
}

// A cache may be behind the apply by a moment. What stays older for this long is no lag: the cluster's history was set
// back, and its versions say nothing.
const staleMs = 60_000

/** What a `WatchHub` tells, as far as a tracker cares. */
export type TrackedEvent =
  | { readonly type: 'snapshot' | 'added' | 'modified' | 'deleted'; readonly object: KubernetesObject }
  | { readonly type: 'synced'; readonly found: boolean; readonly current: boolean }

export interface ReadinessTracker {
  /**
   * Takes an event of a watch of this object. A watch may be behind the apply: what it does not know, or knows under
   * another uid, is gone or replaced only when that is proved to be later.
   */
  take(event: TrackedEvent, now: number): Readiness
  /** The last state again: for `recheckAt`. */
  recheck(now: number): Readiness
  /** `evaluateReadiness` of a state that is no older than the change (an answer, a fresh read), with this memory. */
  evaluate(object: KubernetesObject | undefined, now: number): Readiness
}

/**
 * Judges the states of one object over time, and remembers when each failure was seen first: one that goes away and
 * comes back has its grace period again.
 */
export function createReadinessTracker(rules: ReadinessRules, pin: ReadinessPin): ReadinessTracker {
  return new Tracker(rules, pin)
}

class Tracker implements ReadinessTracker {
  readonly #rules: ReadinessRules
  readonly #pin: ReadinessPin
  #seen = new Map<string, number>()
  #last: KubernetesObject | undefined
  /** Whether the watch has told of our object: from then on, everything it tells is later. */
  #reached = false

  constructor(rules: ReadinessRules, pin: ReadinessPin) {
    this.#rules = rules
    this.#pin = pin
  }

  take(event: TrackedEvent, now: number): Readiness {
    if (event.type === 'synced') {
      if (!event.current) return this.recheck(now)
      this.#reached = true
      return this.evaluate(event.found ? this.#last : undefined, now)
    }
    if (event.type === 'deleted') {
      this.#last = undefined
      if (!this.#isOurs(event.object)) return this.recheck(now)
      this.#reached = true
      return this.evaluate(undefined, now)
    }
    this.#last = event.object
    if (this.#isOurs(event.object) || this.#isLater(event.object)) this.#reached = true
    return this.recheck(now)
  }

  recheck(now: number): Readiness {
    if (this.#last && (this.#reached || this.#isOurs(this.#last))) return this.evaluate(this.#last, now)
    if (!this.#last && this.#reached) return this.evaluate(undefined, now)
    return this.#last
      ? pendingFor('StaleRead', 'The watch still knows an earlier object of this name.')
      : pendingFor('NotFound', 'The watch does not know it yet.')
  }

  evaluate(object: KubernetesObject | undefined, now: number): Readiness {
    const judgement = judge(object, this.#rules, this.#pin)
    if (judgement.kind === 'decided') return judgement.readiness
    this.#seen = new Map(reasonsOf(judgement).map((reason) => [reason, this.#seen.get(reason) ?? now]))
    return weigh(judgement, now, (reason) => this.#seen.get(reason) ?? now)
  }

  #isOurs({ metadata }: KubernetesObject): boolean {
    return this.#pin.uid === undefined || metadata.uid === this.#pin.uid
  }

  #isLater({ metadata }: KubernetesObject): boolean {
    if (this.#pin.resourceVersion === undefined) return false
    return (compareVersions(metadata.resourceVersion, this.#pin.resourceVersion) ?? 0) > 0
  }
}

/** `open`: pending, unless one of the failures has lasted, or what delays the verdict has. */
type Judgement =
  | { readonly kind: 'decided'; readonly readiness: Readiness }
  | {
      readonly kind: 'open'
      readonly missing: NonNullable<Missing>
      readonly failures: readonly Failure[]
      readonly after?: { readonly reason: string; readonly ms: number; readonly then: Judgement }
    }

function reasonsOf(judgement: Judgement): string[] {
  if (judgement.kind === 'decided') return []
  const { failures, after } = judgement
  return [...failures.map(({ reason }) => reason), ...(after ? [after.reason, ...reasonsOf(after.then)] : [])]
}

function weigh(
  { missing, failures, after }: Extract<Judgement, { kind: 'open' }>,
  now: number,
  firstSeenAt: (reason: string) => number,
): Readiness {
  if (after && firstSeenAt(after.reason) + after.ms <= now) {
    return after.then.kind === 'decided' ? after.then.readiness : weigh(after.then, now, firstSeenAt)
  }
  let recheckAt = after ? firstSeenAt(after.reason) + after.ms : Number.POSITIVE_INFINITY
  for (const { reason, message, graceMs } of failures) {
    const due = firstSeenAt(reason) + graceMs
    if (due <= now) return { state: 'failed', code: 'resource_failed', reason, message }
    recheckAt = Math.min(recheckAt, due)
  }
  // While a failure is in its grace period, it tells more than what is missing.
  const { reason, message } = failures[0] ?? missing
  return { state: 'pending', reason, ...(message && { message }), ...(Number.isFinite(recheckAt) && { recheckAt }) }
}

function judge(object: KubernetesObject | undefined, rules: ReadinessRules, pin: ReadinessPin): Judgement {
  const decided = (readiness: Readiness): Judgement => ({ kind: 'decided', readiness })
  if (rules.absent) return decided(judgeAbsence(object, pin))
  if (!object)
    return decided(pin.uid === undefined ? pendingFor('NotFound', 'It does not exist yet.') : { state: 'gone' })
  if (pin.uid !== undefined && object.metadata.uid !== pin.uid) return decided({ state: 'replaced' })
  if (object.metadata.deletionTimestamp !== undefined) return decided(terminating(object))
  const content = judgeContent(object, rules, pin)
  if (!isStale(object, pin)) return content
  const missing = { reason: 'StaleRead', message: 'This state is older than the change.' }
  return { kind: 'open', missing, failures: [], after: { reason: missing.reason, ms: staleMs, then: content } }
}

function judgeAbsence(object: KubernetesObject | undefined, pin: ReadinessPin): Readiness {
  if (!object || (pin.uid !== undefined && object.metadata.uid !== pin.uid)) return { state: 'ready' }
  if (object.metadata.deletionTimestamp === undefined) return pendingFor('NotDeleted', 'Its deletion has not begun.')
  const finalizers = object.metadata.finalizers ?? []
  return pendingFor(
    'Terminating',
    finalizers.length > 0 ? `Held by ${finalizers.join(', ')}.` : 'Its deletion is running.',
  )
}

function terminating({ metadata }: KubernetesObject): Readiness {
  const since = `It is being deleted since ${metadata.deletionTimestamp}.`
  return { state: 'failed', code: 'terminating', reason: 'Terminating', message: since }
}

function isStale(object: KubernetesObject, pin: ReadinessPin): boolean {
  if (pin.resourceVersion === undefined) return false
  return (compareVersions(object.metadata.resourceVersion, pin.resourceVersion) ?? 0) < 0
}

function judgeContent(object: KubernetesObject, rules: ReadinessRules, pin: ReadinessPin): Judgement {
  const conditions = conditionsOf(object)
  const freshness = rules.freshness ?? 'ifPresent'
  const oldest = pin.generation ?? object.metadata.generation
  const isFresh = (condition: Condition | undefined): boolean => fresh(object, condition, freshness, oldest)
  const preset = rules.preset ? readinessPresets[rules.preset](object) : undefined

  const missing =
    missingStatus(object, rules) ??
    missingConditions(conditions, rules, isFresh) ??
    // Presets read the status as a whole: it has to speak of our change.
    (preset && !isFresh(undefined) ? notObserved : preset?.missing) ??
    missingExpression(object, rules)
  if (!missing) return { kind: 'decided', readiness: { state: 'ready' } }

  const progress = new Set(rules.progressReasons)
  const failures = [
    ...declaredFailures(conditions.filter(isFresh), rules),
    ...(preset && isFresh(undefined) ? preset.failures.map((each) => withOwnGrace(each, rules)) : []),
    ...expressionFailures(object, rules),
  ].filter(({ reason }) => !progress.has(reason))
  return { kind: 'open', missing, failures }
}

const notObserved = { reason: 'NotObserved', message: 'Its controller has not seen the change yet.' }

/**
 * Whether a condition (or, without one, the status) speaks of our generation. A condition's own observedGeneration
 * comes before the status's.
 */
function fresh(
  object: KubernetesObject,
  condition: Condition | undefined,
  freshness: Freshness,
  oldest: number | undefined,
): boolean {
  if (freshness === 'ignore') return true
  const observed = condition?.observedGeneration ?? numberOf(fieldsOf(object['status']), 'observedGeneration')
  if (observed === undefined || oldest === undefined) return freshness === 'ifPresent'
  return observed >= oldest
}

function missingStatus(object: KubernetesObject, rules: ReadinessRules): Missing {
  if (!rules.preset && !rules.conditions?.length) return undefined
  return Object.keys(fieldsOf(object['status'])).length > 0
    ? undefined
    : { reason: 'NoStatus', message: 'Its controller has not written a status yet.' }
}

function missingConditions(
  conditions: readonly Condition[],
  rules: ReadinessRules,
  isFresh: (condition: Condition) => boolean,
): Missing {
  for (const { type, status = 'True' } of rules.conditions ?? []) {
    const condition = conditions.find((each) => each.type === type)
    if (!condition) return { reason: 'NoCondition', message: `It has no condition ${type} yet.` }
    if (!isFresh(condition)) return notObserved
    if (condition.status !== status) {
      return {
        reason: condition.reason || `${type}${condition.status}`,
        message: condition.message || `${type} is ${condition.status}.`,
      }
    }
  }
  return undefined
}

function missingExpression(object: KubernetesObject, { ready }: ReadinessRules): Missing {
  if (ready === undefined) return undefined
  const result = evaluateExpression(ready, object)
  if ('problem' in result) return { reason: 'ExpressionUndecided', message: `${ready}: ${result.problem}` }
  return result.value ? undefined : { reason: 'ExpressionFalse', message: `${ready} does not hold yet.` }
}

function declaredFailures(conditions: readonly Condition[], rules: ReadinessRules): Failure[] {
  return conditions.flatMap((condition) => {
    const { type, status, reason, message } = condition
    // kstatus convention: an abnormal condition that says that the controller gave up.
    if (type === 'Stalled' && status === 'True')
      return [withOwnGrace({ reason: reason || type, message, graceMs: defaultGraceMs }, rules)]
    const rule = (rules.failureReasons ?? []).find(
      (each) => each.reason === reason && (each.condition === undefined || each.condition === type),
    )
    return rule ? [{ reason, message, graceMs: rule.graceMs ?? defaultGraceMs }] : []
  })
}

function withOwnGrace(failure: Failure, rules: ReadinessRules): Failure {
  const own = rules.failureReasons?.find(({ reason }) => reason === failure.reason)?.graceMs
  return own === undefined ? failure : { ...failure, graceMs: own }
}

function expressionFailures(object: KubernetesObject, { failed, failedGraceMs }: ReadinessRules): Failure[] {
  if (failed === undefined) return []
  const result = evaluateExpression(failed, object)
  if ('problem' in result || !result.value) return []
  return [{ reason: 'ExpressionFailed', message: `${failed} holds.`, graceMs: failedGraceMs ?? defaultGraceMs }]
}

function pendingFor(reason: string, message: string): Readiness {
  return { state: 'pending', reason, message }
}
