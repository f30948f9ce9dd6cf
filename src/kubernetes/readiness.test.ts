import { describe, expect, test } from 'vitest'
import type { KubernetesObject } from './kubernetes-object.ts'
import {
  createReadinessTracker,
  deletionRules,
  deploymentReadiness,
  dnsZoneReadiness,
  evaluateReadiness,
  existsRules,
  jobReadiness,
  podReadiness,
  projectReadiness,
  type ReadinessPin,
  type ReadinessRules,
  readinessRulesSchema,
  rulesForKind,
  virtualMachineReadiness,
} from './readiness.ts'

const pin: ReadinessPin = { uid: 'u1', generation: 2, resourceVersion: '100' }
const at = { now: 1_000_000, firstSeenAt: 1_000_000 }
const longAgo = { now: 1_000_000, firstSeenAt: 0 }

interface Parts {
  readonly metadata?: Partial<KubernetesObject['metadata']>
  readonly spec?: unknown
  readonly status?: unknown
}

function object({ metadata, ...rest }: Parts = {}): KubernetesObject {
  return {
    apiVersion: 'test.dev/v1',
    kind: 'Thing',
    metadata: { name: 'a', uid: 'u1', resourceVersion: '101', generation: 2, ...metadata },
    ...rest,
  }
}

const condition = (type: string, status: string, more: object = {}) => ({ type, status, ...more })
const conditions = (...list: object[]): Parts => ({ status: { conditions: list } })
const ready = condition('Ready', 'True')
const needsReady: ReadinessRules = { conditions: [{ type: 'Ready' }] }

const evaluate = (parts: Parts | undefined, rules: ReadinessRules, times = at) =>
  evaluateReadiness(parts && object(parts), rules, pin, times)

describe('readiness: which object', () => {
  test('none, though we made one: gone', () => {
    expect(evaluate(undefined, needsReady)).toEqual({ state: 'gone' })
  })

  test('none, and none was known: pending', () => {
    expect(evaluateReadiness(undefined, needsReady, {}, at)).toMatchObject({ state: 'pending', reason: 'NotFound' })
  })

  test('another uid: replaced, however ready it is', () => {
    expect(evaluate({ metadata: { uid: 'u2' }, ...conditions(ready) }, needsReady)).toEqual({ state: 'replaced' })
  })

  test('being deleted: failed now, however ready it is', () => {
    const parts = { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' }, ...conditions(ready) }
    expect(evaluate(parts, needsReady)).toMatchObject({ state: 'failed', code: 'terminating' })
  })

  test('a state from before the change: pending', () => {
    const parts = { metadata: { resourceVersion: '99' }, ...conditions(ready) }
    expect(evaluate(parts, needsReady)).toMatchObject({ state: 'pending', reason: 'StaleRead' })
  })

  test('unless it stays: then the history was set back', () => {
    const stale = object({ metadata: { resourceVersion: '99' }, ...conditions(ready) })
    const tracker = createReadinessTracker(needsReady, pin)
    expect(tracker.evaluate(stale, 0)).toMatchObject({ state: 'pending', reason: 'StaleRead', recheckAt: 60_000 })
    expect(tracker.evaluate(stale, 59_999)).toMatchObject({ state: 'pending' })
    expect(tracker.evaluate(stale, 60_000)).toEqual({ state: 'ready' })
  })

  test('resource versions that are no numbers are not compared', () => {
    const parts = { metadata: { resourceVersion: 'abc' }, ...conditions(ready) }
    expect(evaluate(parts, needsReady)).toEqual({ state: 'ready' })
  })
})

describe('readiness: conditions', () => {
  test.each<[string, Parts, string]>([
    ['no status', {}, 'NoStatus'],
    ['an empty status', { status: {} }, 'NoStatus'],
    ['a status without the condition', { status: { phase: 'x' } }, 'NoCondition'],
    ['False', conditions(condition('Ready', 'False', { reason: 'Provisioning' })), 'Provisioning'],
    ['Unknown', conditions(condition('Ready', 'Unknown', { reason: 'Pending' })), 'Pending'],
    ['False without a reason', conditions(condition('Ready', 'False')), 'ReadyFalse'],
  ])('%s is pending, for ever', (_, parts, reason) => {
    expect(evaluate(parts, needsReady, longAgo)).toMatchObject({ state: 'pending', reason })
  })

  test('all of several', () => {
    const rules: ReadinessRules = { conditions: [{ type: 'Ready' }, { type: 'Synced' }] }
    expect(
      evaluate(conditions(ready, condition('Synced', 'False', { reason: 'ReconcileError' })), rules),
    ).toMatchObject({
      state: 'pending',
      reason: 'ReconcileError',
    })
    expect(evaluate(conditions(ready, condition('Synced', 'True')), rules)).toEqual({ state: 'ready' })
  })

  test('another status than True', () => {
    const rules: ReadinessRules = { conditions: [{ type: 'Degraded', status: 'False' }] }
    expect(evaluate(conditions(condition('Degraded', 'False')), rules)).toEqual({ state: 'ready' })
    expect(evaluate(conditions(condition('Degraded', 'True', { reason: 'Broken' })), rules)).toMatchObject({
      state: 'pending',
    })
  })

  test.each([
    ['a list that is none', { status: { conditions: 'Ready' } }],
    ['entries that are none', { status: { conditions: [null, 'Ready', 7, []] } }],
    ['fields of other types', { status: { conditions: [{ type: 7, status: true }] } }],
    ['a status that is none', { status: 'Ready' }],
  ])('malformed: %s is pending, not an exception', (_, parts) => {
    expect(evaluate(parts, needsReady)).toMatchObject({ state: 'pending' })
  })
})

describe('readiness: freshness', () => {
  const observed = (generation: number | undefined): Parts =>
    conditions({ ...ready, ...(generation !== undefined && { observedGeneration: generation }) })
  const statusObserved = (generation: number): Parts => ({
    status: { observedGeneration: generation, conditions: [ready] },
  })

  test.each<[NonNullable<ReadinessRules['freshness']>, Parts, string]>([
    ['strict', observed(2), 'ready'],
    ['strict', observed(3), 'ready'],
    ['strict', observed(1), 'pending'],
    ['strict', observed(undefined), 'pending'],
    ['strict', statusObserved(2), 'ready'],
    ['strict', statusObserved(1), 'pending'],
    ['ifPresent', observed(2), 'ready'],
    ['ifPresent', observed(1), 'pending'],
    ['ifPresent', observed(undefined), 'ready'],
    ['ifPresent', statusObserved(1), 'pending'],
    ['ignore', observed(1), 'ready'],
    ['ignore', statusObserved(1), 'ready'],
  ])('%s', (freshness, parts, state) => {
    expect(evaluate(parts, { ...needsReady, freshness })).toMatchObject({ state })
  })

  test("a condition's own observedGeneration comes before that of the status", () => {
    const parts = { status: { observedGeneration: 1, conditions: [{ ...ready, observedGeneration: 2 }] } }
    expect(evaluate(parts, { ...needsReady, freshness: 'strict' })).toEqual({ state: 'ready' })
  })

  test('a failure of the former generation is not ours', () => {
    const failed = condition('Ready', 'False', { reason: 'Broken', observedGeneration: 1 })
    const rules: ReadinessRules = { ...needsReady, failureReasons: [{ reason: 'Broken', graceMs: 0 }] }
    expect(evaluate(conditions(failed), rules, longAgo)).toMatchObject({ state: 'pending', reason: 'NotObserved' })
    expect(evaluate(conditions({ ...failed, observedGeneration: 2 }), rules)).toMatchObject({ state: 'failed' })
  })
})

describe('readiness: declared failures', () => {
  const broken = conditions(condition('Ready', 'False', { reason: 'Broken', message: 'it is broken' }))

  test('fail after their grace, and say when to look again before', () => {
    const rules: ReadinessRules = { ...needsReady, failureReasons: [{ reason: 'Broken', graceMs: 10_000 }] }
    expect(evaluate(broken, rules, { now: 5_000, firstSeenAt: 0 })).toEqual({
      state: 'pending',
      reason: 'Broken',
      message: 'it is broken',
      recheckAt: 10_000,
    })
    expect(evaluate(broken, rules, { now: 10_000, firstSeenAt: 0 })).toEqual({
      state: 'failed',
      code: 'resource_failed',
      reason: 'Broken',
      message: 'it is broken',
    })
  })

  test('15 s is the grace by default', () => {
    const rules: ReadinessRules = { ...needsReady, failureReasons: [{ reason: 'Broken' }] }
    expect(evaluate(broken, rules, { now: 0, firstSeenAt: 0 })).toMatchObject({ recheckAt: 15_000 })
  })

  test('only on the condition that they name', () => {
    const rules: ReadinessRules = {
      ...needsReady,
      failureReasons: [{ reason: 'Broken', condition: 'Synced', graceMs: 0 }],
    }
    expect(evaluate(broken, rules)).toMatchObject({ state: 'pending' })
  })

  test('a reason declared as progress never fails', () => {
    const rules: ReadinessRules = {
      ...needsReady,
      failureReasons: [{ reason: 'Broken', graceMs: 0 }],
      progressReasons: ['Broken'],
    }
    expect(evaluate(broken, rules, longAgo)).toMatchObject({ state: 'pending' })
  })

  test('Stalled=True is one, everywhere', () => {
    const parts = conditions(condition('Stalled', 'True', { reason: 'GaveUp', message: 'no more retries' }))
    expect(evaluate(parts, needsReady)).toMatchObject({ state: 'pending', reason: 'GaveUp' })
    expect(evaluate(parts, needsReady, longAgo)).toMatchObject({ state: 'failed', reason: 'GaveUp' })
  })

  test('ready is ready: what else is wrong does not matter', () => {
    const rules: ReadinessRules = { ...needsReady, failureReasons: [{ reason: 'Broken', graceMs: 0 }] }
    expect(evaluate(conditions(ready, condition('Other', 'False', { reason: 'Broken' })), rules)).toEqual({
      state: 'ready',
    })
  })
})

describe('readiness tracker: the grace period runs from when a failure was seen', () => {
  const rules: ReadinessRules = {
    ...needsReady,
    failureReasons: [
      { reason: 'Broken', graceMs: 10_000 },
      { reason: 'Worse', graceMs: 10_000 },
    ],
  }
  const failing = (reason: string): KubernetesObject => object(conditions(condition('Ready', 'False', { reason })))
  const fine = object(conditions(condition('Ready', 'False', { reason: 'Working' })))

  test('and not from the start of the wait', () => {
    const tracker = createReadinessTracker(rules, pin)
    expect(tracker.evaluate(fine, 0)).toMatchObject({ state: 'pending' })
    expect(tracker.evaluate(failing('Broken'), 100_000)).toMatchObject({ state: 'pending', recheckAt: 110_000 })
    expect(tracker.evaluate(failing('Broken'), 109_999)).toMatchObject({ state: 'pending' })
    expect(tracker.evaluate(failing('Broken'), 110_000)).toMatchObject({ state: 'failed' })
  })

  test('anew when it went away in between, or is another one', () => {
    const tracker = createReadinessTracker(rules, pin)
    tracker.evaluate(failing('Broken'), 0)
    tracker.evaluate(fine, 9_000)
    expect(tracker.evaluate(failing('Broken'), 9_500)).toMatchObject({ recheckAt: 19_500 })
    expect(tracker.evaluate(failing('Worse'), 15_000)).toMatchObject({ recheckAt: 25_000 })
  })
})

describe('readiness: waiting for deletion', () => {
  test.each<[string, Parts | undefined, object]>([
    ['gone', undefined, { state: 'ready' }],
    ['a namesake', { metadata: { uid: 'u2' } }, { state: 'ready' }],
    ['still there', {}, { state: 'pending', reason: 'NotDeleted' }],
    [
      'held by a finalizer',
      { metadata: { deletionTimestamp: 'x', finalizers: ['test.dev/hold'] } },
      { state: 'pending', reason: 'Terminating', message: 'Held by test.dev/hold.' },
    ],
  ])('%s', (_, parts, expected) => {
    expect(evaluate(parts, deletionRules)).toMatchObject(expected)
  })
})

describe('readiness by expression', () => {
  test('ready when it holds', () => {
    const rules: ReadinessRules = { ready: 'object.status.readyReplicas >= object.spec.replicas' }
    expect(evaluate({ spec: { replicas: 2 }, status: { readyReplicas: 2 } }, rules)).toEqual({ state: 'ready' })
    expect(evaluate({ spec: { replicas: 2 }, status: { readyReplicas: 1 } }, rules)).toMatchObject({
      state: 'pending',
      reason: 'ExpressionFalse',
    })
  })

  test('a missing field is pending', () => {
    expect(evaluate({}, { ready: 'object.status.phase == "Up"' })).toMatchObject({
      state: 'pending',
      reason: 'ExpressionUndecided',
    })
  })

  test('besides conditions', () => {
    const rules: ReadinessRules = { ...needsReady, ready: 'object.status.phase == "Up"' }
    expect(evaluate({ status: { phase: 'Up', conditions: [] } }, rules)).toMatchObject({ state: 'pending' })
    expect(evaluate({ status: { phase: 'Up', conditions: [ready] } }, rules)).toEqual({ state: 'ready' })
  })

  test('failed when it has held for its grace', () => {
    const rules: ReadinessRules = { ...needsReady, failed: 'object.status.phase == "Failed"', failedGraceMs: 1000 }
    expect(evaluate({ status: { phase: 'Failed' } }, rules)).toMatchObject({ state: 'pending' })
    expect(evaluate({ status: { phase: 'Failed' } }, rules, longAgo)).toMatchObject({
      state: 'failed',
      reason: 'ExpressionFailed',
    })
  })
})

describe('rules', () => {
  test.each([
    projectReadiness,
    dnsZoneReadiness,
    virtualMachineReadiness,
    deploymentReadiness,
    jobReadiness,
    podReadiness,
    deletionRules,
    existsRules,
  ])('are plain JSON %#', (rules) => {
    expect(readinessRulesSchema.parse(JSON.parse(JSON.stringify(rules)))).toEqual(rules)
  })

  test('are found by kind', () => {
    expect(rulesForKind('apps/v1', 'Deployment')).toBe(deploymentReadiness)
    expect(rulesForKind('v1', 'ConfigMap')).toBe(existsRules)
    expect(rulesForKind('example.com/v1', 'Deployment')).toEqual({ conditions: [{ type: 'Ready' }] })
  })

  test('a kind without a status is ready when it exists', () => {
    expect(evaluate({}, existsRules)).toEqual({ state: 'ready' })
  })

  test('an expression that cannot be evaluated is refused when the rules are accepted', () => {
    expect(readinessRulesSchema.safeParse({ ready: 'object.status.phase ==' }).success).toBe(false)
    expect(readinessRulesSchema.safeParse({ ready: 'object.status.phase == "Up"' }).success).toBe(true)
  })

  test('nothing unknown is accepted', () => {
    expect(readinessRulesSchema.safeParse({ condition: [{ type: 'Ready' }] }).success).toBe(false)
  })
})
