import { describe, expect, test } from 'vitest'
import type { KubernetesObject } from './kubernetes-object.ts'
import {
  deploymentReadiness,
  dnsZoneReadiness,
  evaluateReadiness,
  jobReadiness,
  podReadiness,
  projectReadiness,
  type ReadinessPin,
  type ReadinessRules,
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

const evaluate = (parts: Parts | undefined, rules: ReadinessRules, times = at) =>
  evaluateReadiness(parts && object(parts), rules, pin, times)

describe('readiness of a Project', () => {
  test.each(['Pending', 'Provisioning', 'Unknown', 'Waiting', 'Creating'])('%s is progress', (reason) => {
    expect(evaluate(conditions(condition('Ready', 'False', { reason })), projectReadiness, longAgo)).toMatchObject({
      state: 'pending',
      reason,
    })
  })

  test('a name conflict fails at once', () => {
    const parts = conditions(condition('Ready', 'False', { reason: 'ProjectNameConflict', message: 'taken' }))
    expect(evaluate(parts, projectReadiness)).toMatchObject({
      state: 'failed',
      reason: 'ProjectNameConflict',
      message: 'taken',
    })
  })

  test('Ready of a former generation counts: its controller stops to refresh observedGeneration', () => {
    expect(evaluate(conditions({ ...ready, observedGeneration: 1 }), projectReadiness)).toEqual({ state: 'ready' })
  })

  test('without a status it is pending', () => {
    expect(evaluate({}, projectReadiness)).toMatchObject({ state: 'pending', reason: 'NoStatus' })
  })
})

describe('readiness of a DNSZone', () => {
  test('Accepted=False/Pending is the normal path', () => {
    const parts = conditions(condition('Accepted', 'False', { reason: 'Pending' }))
    expect(evaluate(parts, dnsZoneReadiness, longAgo)).toMatchObject({ state: 'pending', reason: 'Pending' })
  })

  test('needs Accepted and Programmed', () => {
    const accepted = condition('Accepted', 'True')
    expect(evaluate(conditions(accepted), dnsZoneReadiness)).toMatchObject({ state: 'pending', reason: 'NoCondition' })
    expect(evaluate(conditions(accepted, condition('Programmed', 'True')), dnsZoneReadiness)).toEqual({
      state: 'ready',
    })
  })

  test('a zone in use fails', () => {
    const parts = conditions(condition('Accepted', 'False', { reason: 'DNSZoneInUse' }))
    expect(evaluate(parts, dnsZoneReadiness)).toMatchObject({ state: 'failed', reason: 'DNSZoneInUse' })
  })
})

describe('readiness of a VirtualMachine', () => {
  const machine = (runStrategy: string, status: object): Parts => ({ spec: { runStrategy }, status })
  const notReady = { type: 'Ready', status: 'False', reason: 'VMINotExists' }

  test.each<[string, Parts, string]>([
    ['runs', machine('Always', { printableStatus: 'Running', created: true, conditions: [ready] }), 'ready'],
    ['starts', machine('Always', { printableStatus: 'Starting', created: true, conditions: [notReady] }), 'pending'],
    ['should run, and is Stopped by default', machine('Always', { printableStatus: 'Stopped' }), 'pending'],
    ['is stopped', machine('Halted', { printableStatus: 'Stopped', conditions: [notReady] }), 'ready'],
    ['is Stopped by default, and nobody has looked', machine('Halted', { printableStatus: 'Stopped' }), 'pending'],
    ['stops', machine('Halted', { printableStatus: 'Stopping', created: true, conditions: [ready] }), 'pending'],
    [
      'is stopped, its instance still there',
      machine('Halted', { printableStatus: 'Stopped', created: true, conditions: [notReady] }),
      'pending',
    ],
    [
      'is stopped by the former field',
      { spec: { running: false }, status: { printableStatus: 'Stopped', conditions: [notReady] } },
      'ready',
    ],
    ['is stopped by hand', machine('Manual', { printableStatus: 'Stopped', conditions: [notReady] }), 'ready'],
    ['runs by hand', machine('Manual', { printableStatus: 'Running', created: true, conditions: [ready] }), 'ready'],
    ['has no status', { spec: { runStrategy: 'Always' } }, 'pending'],
  ])('%s', (_, parts, state) => {
    expect(evaluate(parts, virtualMachineReadiness, longAgo)).toMatchObject({ state })
  })

  test.each([
    'ErrImagePull',
    'ImagePullBackOff',
    'ErrorPvcNotFound',
    'ErrorUnschedulable',
    'DataVolumeError',
    'CrashLoopBackOff',
  ])('%s fails after a grace', (printableStatus) => {
    const parts = machine('Always', { printableStatus, conditions: [notReady] })
    expect(evaluate(parts, virtualMachineReadiness)).toMatchObject({ state: 'pending', reason: printableStatus })
    expect(evaluate(parts, virtualMachineReadiness, longAgo)).toMatchObject({
      state: 'failed',
      reason: printableStatus,
    })
  })

  test('Failure=True fails after a grace', () => {
    const failure = { type: 'Failure', status: 'True', reason: 'FailedCreate', message: 'quota' }
    const parts = machine('Always', { conditions: [notReady, failure] })
    expect(evaluate(parts, virtualMachineReadiness, longAgo)).toMatchObject({
      state: 'failed',
      reason: 'FailedCreate',
      message: 'quota',
    })
  })

  test('a grace of its own', () => {
    const rules = { ...virtualMachineReadiness, failureReasons: [{ reason: 'ErrorUnschedulable', graceMs: 0 }] }
    const parts = machine('Always', { printableStatus: 'ErrorUnschedulable', conditions: [notReady] })
    expect(evaluate(parts, rules)).toMatchObject({ state: 'failed' })
  })
})

describe('readiness of a Deployment', () => {
  const rollout = (status: object, replicas = 3): Parts => ({
    spec: { replicas },
    status: { observedGeneration: 2, ...status },
  })

  test.each<[string, Parts, string]>([
    ['rolled out', rollout({ updatedReplicas: 3, replicas: 3, availableReplicas: 3 }), 'ready'],
    ['scaled to zero', rollout({}, 0), 'ready'],
    [
      'of the former generation',
      {
        spec: { replicas: 1 },
        status: { observedGeneration: 1, updatedReplicas: 1, replicas: 1, availableReplicas: 1 },
      },
      'pending',
    ],
    ['half updated', rollout({ updatedReplicas: 1, replicas: 3, availableReplicas: 3 }), 'pending'],
    ['old replicas left', rollout({ updatedReplicas: 3, replicas: 4, availableReplicas: 4 }), 'pending'],
    ['not available', rollout({ updatedReplicas: 3, replicas: 3, availableReplicas: 2 }), 'pending'],
    ['without a status', { spec: {} }, 'pending'],
  ])('%s', (_, parts, state) => {
    expect(evaluate(parts, deploymentReadiness)).toMatchObject({ state })
  })

  test.each([
    ['ProgressDeadlineExceeded', condition('Progressing', 'False', { reason: 'ProgressDeadlineExceeded' })],
    ['FailedCreate', condition('ReplicaFailure', 'True', { reason: 'FailedCreate', message: 'exceeded quota' })],
  ])('%s fails', (reason, failed) => {
    expect(evaluate(rollout({ conditions: [failed] }), deploymentReadiness, longAgo)).toMatchObject({
      state: 'failed',
      reason,
    })
  })
})

describe('readiness of a Job and a Pod', () => {
  test.each<[string, ReadinessRules, Parts, object]>([
    ['a complete Job', jobReadiness, conditions(condition('Complete', 'True')), { state: 'ready' }],
    ['a running Job', jobReadiness, { status: { active: 1 } }, { state: 'pending', reason: 'Running' }],
    [
      'a suspended Job',
      jobReadiness,
      conditions(condition('Suspended', 'True')),
      { state: 'pending', reason: 'Suspended' },
    ],
    [
      'a failed Job',
      jobReadiness,
      conditions(condition('Failed', 'True', { reason: 'BackoffLimitExceeded' })),
      { state: 'failed', reason: 'BackoffLimitExceeded' },
    ],
    ['a ready Pod', podReadiness, { status: { phase: 'Running', conditions: [ready] } }, { state: 'ready' }],
    ['a Pod that has done its work', podReadiness, { status: { phase: 'Succeeded' } }, { state: 'ready' }],
    [
      'a failed Pod',
      podReadiness,
      { status: { phase: 'Failed', reason: 'Evicted' } },
      { state: 'failed', reason: 'Evicted' },
    ],
    ['a pending Pod', podReadiness, { status: { phase: 'Pending' } }, { state: 'pending', reason: 'Pending' }],
    [
      'a Pod whose image cannot be pulled',
      podReadiness,
      {
        status: {
          phase: 'Pending',
          containerStatuses: [{ name: 'a', state: { waiting: { reason: 'ImagePullBackOff', message: 'no' } } }],
        },
      },
      { state: 'failed', reason: 'ImagePullBackOff', message: 'no' },
    ],
    [
      'a Pod that fits nowhere',
      podReadiness,
      { status: { phase: 'Pending', conditions: [condition('PodScheduled', 'False', { reason: 'Unschedulable' })] } },
      { state: 'failed', reason: 'Unschedulable' },
    ],
  ])('%s', (_, rules, parts, expected) => {
    expect(evaluate(parts, rules, longAgo)).toMatchObject(expected)
  })
})
