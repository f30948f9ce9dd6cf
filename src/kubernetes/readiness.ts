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

export interface ReadinessTracker {
  /** `evaluateReadiness`, with the memory of when each failure was seen first. Call it with every state, in order. */
  evaluate(object: KubernetesObject | undefined, now: number): Readiness
}

/** Evaluates the states of one object over time. A failure that goes away and comes back has its grace period again. */
export function createReadinessTracker(rules: ReadinessRules, pin: ReadinessPin): ReadinessTracker {
  let seen = new Map<string, number>()
  return {
    evaluate(object, now) {
      const judgement = judge(object, rules, pin)
      if (judgement.kind === 'decided') return judgement.readiness
      seen = new Map(judgement.failures.map(({ reason }) => [reason, seen.get(reason) ?? now]))
      return weigh(judgement, now, (reason) => seen.get(reason) ?? now)
    },
  }
}

type Judgement =
  | { readonly kind: 'decided'; readonly readiness: Readiness }
  | { readonly kind: 'open'; readonly missing: NonNullable<Missing>; readonly failures: readonly Failure[] }

function weigh(
  { missing, failures }: Extract<Judgement, { kind: 'open' }>,
  now: number,
  firstSeenAt: (reason: string) => number,
): Readiness {
  let recheckAt = Number.POSITIVE_INFINITY
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
  if (isStale(object, pin)) return decided(pendingFor('StaleRead', 'This state is older than the change.'))
  return judgeContent(object, rules, pin)
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
