import { apiTime } from '../clock.ts'
import { equalJson, isObject, listAt, numberAt, stringAt, valueAt, type JsonObject } from '../json.ts'
import { jobKind, podKind } from '../kinds/workloads.ts'
import { isTerminating, namespaceOf, type KubernetesObject, type StatusCondition } from '../kubernetes-object.ts'
import { nameOf, withConditions, writeStatus, type Controller, type ControllerContext } from './controller.ts'
import { isAlive, ownedBy, ownerKeys } from './owned-objects.ts'
import { isReady, podFromTemplate } from './replica-set-controller.ts'

const manager = 'job-controller'

/** Runs Pods until enough have succeeded or too many have failed. */
export const jobController: Controller = {
  name: 'job',
  group: jobKind.group,
  plural: jobKind.plural,
  watches: [{ resource: '/pods', concerns: ownerKeys('Job') }],
  reconcile(job, context) {
    if (isTerminating(job)) return undefined
    const finishedAt = finishTime(job)
    if (finishedAt !== undefined) return expire(job, finishedAt, context)
    const pods = ownedBy(job, podKind, context)
    const count = (phase: string): number => pods.filter((pod) => stringAt(pod, 'status', 'phase') === phase).length
    const [succeeded, failed] = [count('Succeeded'), count('Failed')]
    const active = pods.filter((pod) => isAlive(pod) && !isFinished(pod))
    const suspended = valueAt(job, 'spec', 'suspend') === true
    const verdict = decide(job, { succeeded, failed, context })
    if (verdict !== undefined || suspended) {
      for (const pod of active) context.remover.remove(podKind, nameOf(pod), {})
    } else {
      const open = Math.min(
        numberAt(job, 'spec', 'parallelism') ?? 1,
        (numberAt(job, 'spec', 'completions') ?? 1) - succeeded,
      )
      for (let missing = open - active.length; missing > 0; missing -= 1) createPod(job, context)
    }
    writeJobStatus(job, { succeeded, failed, verdict, suspended, context })
    return verdict === undefined && !suspended ? deadlineLeft(job, context) : undefined
  },
}

function createPod(job: KubernetesObject, context: ControllerContext): void {
  const pod = context.writer.create(podKind, namespaceOf(job), podFromTemplate(job), { manager })
  const message = `Created pod: ${pod.metadata.name}`
  context.recordEvent(job, { type: 'Normal', reason: 'SuccessfulCreate', message, component: manager })
}

function isFinished(pod: KubernetesObject): boolean {
  return ['Succeeded', 'Failed'].includes(stringAt(pod, 'status', 'phase') ?? '')
}

function finishTime(job: KubernetesObject): number | undefined {
  const finished = listAt(job, 'status', 'conditions').find(
    (known) => ['Complete', 'Failed'].includes(stringAt(known, 'type') ?? '') && stringAt(known, 'status') === 'True',
  )
  return finished === undefined ? undefined : Date.parse(stringAt(finished, 'lastTransitionTime') ?? '')
}

function expire(job: KubernetesObject, finishedAt: number, context: ControllerContext): number | undefined {
  const seconds = numberAt(job, 'spec', 'ttlSecondsAfterFinished')
  if (seconds === undefined) return undefined
  const left = finishedAt + seconds * 1000 - context.clock.now()
  if (left > 0) return left
  context.remover.remove(jobKind, nameOf(job), { propagation: 'Background' })
  return undefined
}

function deadlineLeft(job: KubernetesObject, context: ControllerContext): number | undefined {
  const seconds = numberAt(job, 'spec', 'activeDeadlineSeconds')
  return seconds === undefined ? undefined : Math.max(1, seconds * 1000 - context.elapsed(job, 'start'))
}

type Verdict = readonly StatusCondition[]

function decide(
  job: KubernetesObject,
  seen: { readonly succeeded: number; readonly failed: number; readonly context: ControllerContext },
): Verdict | undefined {
  if (seen.succeeded >= (numberAt(job, 'spec', 'completions') ?? 1)) {
    const why = {
      status: 'True',
      reason: 'CompletionsReached',
      message: 'Reached expected number of succeeded pods',
    } as const
    return [
      { type: 'SuccessCriteriaMet', ...why },
      { type: 'Complete', ...why },
    ]
  }
  const failure = (reason: string, message: string): Verdict => [
    { type: 'FailureTarget', status: 'True', reason, message },
    { type: 'Failed', status: 'True', reason, message },
  ]
  if (seen.failed > (numberAt(job, 'spec', 'backoffLimit') ?? 6)) {
    return failure('BackoffLimitExceeded', 'Job has reached the specified backoff limit')
  }
  const seconds = numberAt(job, 'spec', 'activeDeadlineSeconds')
  if (seconds !== undefined && seen.context.elapsed(job, 'start') >= seconds * 1000) {
    return failure('DeadlineExceeded', 'Job was active longer than specified deadline')
  }
  return undefined
}

function writeJobStatus(
  job: KubernetesObject,
  seen: {
    readonly succeeded: number
    readonly failed: number
    readonly verdict: Verdict | undefined
    readonly suspended: boolean
    readonly context: ControllerContext
  },
): void {
  const { context, verdict, suspended } = seen
  const now = context.clock.now()
  const before = isObject(job['status']) ? job['status'] : {}
  const pods = ownedBy(job, podKind, context).filter((pod) => isAlive(pod) && !isFinished(pod))
  const suspension: StatusCondition[] = suspended
    ? [{ type: 'Suspended', status: 'True', reason: 'JobSuspended', message: 'Job suspended' }]
    : []
  const conditions = withConditions(job, [...(verdict ?? []), ...suspension], {
    now,
    observedGeneration: false,
  }).filter((condition) => suspended || stringAt(condition, 'type') !== 'Suspended')
  const status: JsonObject = {
    ...(suspended ? {} : { startTime: before['startTime'] ?? apiTime(now) }),
    ...(verdict !== undefined || pods.length === 0 ? {} : { active: pods.length, ready: pods.filter(isReady).length }),
    ...(seen.succeeded === 0 ? {} : { succeeded: seen.succeeded }),
    ...(seen.failed === 0 ? {} : { failed: seen.failed }),
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(verdict?.at(-1)?.type === 'Complete' ? { completionTime: apiTime(now) } : {}),
  }
  if (!equalJson(before, status)) writeStatus(job, jobKind, status, { writer: context.writer, manager })
}
