import type { DryRun, DryRunContext, PerformContext } from './define-operation.ts'
import { PermanentError } from './errors.ts'
import { objectDiff } from './object-diff.ts'
import type { KubernetesObject, ObjectRef } from '../kubernetes/cluster.ts'

/** Says which task made an object: how a second run, or a retry, knows its own. */
export const taskLabel = 'sluice.dev/task'
const managedByLabel = 'app.kubernetes.io/managed-by'

/** The object that an operation wants, before it exists: no uid yet. */
export interface DesiredObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Record<string, string>
    readonly annotations?: Record<string, string>
  }
  readonly [field: string]: unknown
}

/** One manager per tenant: what another tenant made answers 409 by itself, since the task label differs. */
export const fieldManager = (tenant: string): string => `sluice-${tenant}`

/**
 * Makes an object by server-side apply. May run twice: an object that this task made, or one that it tries again,
 * is ours. Throws `PermanentError` `already_exists` for anybody else's.
 */
export async function applyOwn(
  context: PerformContext,
  clusterName: string,
  desired: DesiredObject,
): Promise<KubernetesObject> {
  const cluster = context.cluster(clusterName)
  const standing = await cluster.get(refOf(desired), { signal: context.signal })
  if (standing && !isOurs(standing, context)) {
    throw new PermanentError(
      `${desired.kind} ${desired.metadata.name} already exists in cluster ${clusterName} and was not made by this task. Choose another name and submit again.`,
      { code: 'already_exists' },
    )
  }
  return cluster.apply(labelled(desired, context.taskId), {
    fieldManager: fieldManager(context.tenant),
    signal: context.signal,
  })
}

/** What the API server would make of it (`dryRun=All`), as a diff against what stands. */
export async function previewApply(
  context: DryRunContext,
  clusterName: string,
  desired: DesiredObject,
): Promise<DryRun> {
  const cluster = context.cluster(clusterName)
  const standing = await cluster.get(refOf(desired), { signal: context.signal })
  const preview = await cluster.apply(labelled(desired, undefined), {
    fieldManager: fieldManager(context.tenant),
    dryRun: true,
    // A preview shows what would happen; whether somebody else owns a field shows in the warning below.
    force: true,
    signal: context.signal,
  })
  const warnings = standing
    ? [
        `${desired.kind} ${desired.metadata.name} already exists in cluster ${clusterName}: the task would fail with already_exists.`,
      ]
    : []
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

function refOf(desired: DesiredObject): ObjectRef {
  const { name, namespace } = desired.metadata
  return { apiVersion: desired.apiVersion, kind: desired.kind, name, ...(namespace !== undefined && { namespace }) }
}
