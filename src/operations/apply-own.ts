import type { DesiredObject, KubernetesObject } from '../kubernetes/cluster.ts'
import type { ReadinessRules } from '../kubernetes/readiness.ts'
import {
  type DryRun,
  type DryRunContext,
  type PerformContext,
  type Performed,
  waitUntilReady,
} from './define-operation.ts'
import { PermanentError } from './errors.ts'
import { objectDiff } from './object-diff.ts'
import { describeObject, fillBasePath, type TargetObject } from './object-target.ts'

/** Says which task made an object: how a second run, or a retry, knows its own. */
const taskLabel = 'sluice.dev/task'
const managedByLabel = 'app.kubernetes.io/managed-by'

/** One manager per tenant: what another tenant made answers 409 by itself, since the task label differs. */
const fieldManager = (tenant: string): string => `sluice-${tenant}`

export interface ApplyRequest {
  readonly target: TargetObject
  readonly desired: DesiredObject
  /** Whether an object that somebody else made is in the way. */
  readonly mustBeOurs: boolean
  /** Only if the object still has this uid. */
  readonly uid?: string | undefined
}

/**
 * Applies an object by server-side apply, never forcing another manager's fields. May run twice: an object that this
 * task made, or one that it tries again, is ours. Throws `PermanentError` `already_exists` where `mustBeOurs` and it is not.
 */
export async function applyObject(context: PerformContext, request: ApplyRequest): Promise<KubernetesObject> {
  const { target, desired, mustBeOurs, uid } = request
  const cluster = context.cluster(target.cluster)
  const basePath = fillBasePath(cluster, target)
  if (mustBeOurs) {
    const standing = await cluster.get(target.ref, { basePath, signal: context.signal })
    if (standing && !isOurs(standing, context)) {
      throw new PermanentError(
        `${describeObject(target)} already exists and was not made by this task. Choose another name and submit again.`,
        { code: 'already_exists' },
      )
    }
  }
  return cluster.apply(labelled(desired, context.taskId), {
    fieldManager: fieldManager(context.tenant),
    basePath,
    uid,
    signal: context.signal,
  })
}

/** Parks the task until what was applied is ready. */
export function waitForApplied(
  context: PerformContext,
  {
    target,
    object,
    rules,
  }: { readonly target: TargetObject; readonly object: KubernetesObject; readonly rules: ReadinessRules },
): Performed {
  const { uid, generation, resourceVersion } = object.metadata
  const basePath = fillBasePath(context.cluster(target.cluster), target)
  return waitUntilReady({ cluster: target.cluster, ref: target.ref, basePath, uid, generation, resourceVersion, rules })
}

/** What the API server would make of it (`dryRun=All`), as a diff against what stands. */
export async function previewApply(
  context: DryRunContext,
  { target, desired, mustBeOurs }: Omit<ApplyRequest, 'uid'>,
): Promise<DryRun> {
  const cluster = context.cluster(target.cluster)
  const basePath = fillBasePath(cluster, target)
  const standing = await cluster.get(target.ref, { basePath, signal: context.signal })
  const warnings: string[] =
    standing && mustBeOurs ? [`${describeObject(target)} already exists: the task would fail with already_exists.`] : []
  const preview = await cluster.apply(labelled(desired, undefined), {
    fieldManager: fieldManager(context.tenant),
    dryRun: true,
    basePath,
    onWarning: (text) => void warnings.push(text),
    signal: context.signal,
  })
  return { diff: objectDiff(standing, preview), warnings }
}

function labelled(desired: DesiredObject, taskId: string | undefined): DesiredObject {
  const labels = {
    ...desired.metadata.labels,
    [managedByLabel]: 'sluice',
    ...(taskId !== undefined && { [taskLabel]: taskId }),
  }
  return { ...desired, metadata: { ...desired.metadata, labels } }
}

function isOurs(object: KubernetesObject, context: PerformContext): boolean {
  const owner = object.metadata.labels?.[taskLabel]
  return owner !== undefined && (owner === context.taskId || owner === context.retryOf)
}
