import { deletionRules } from '../kubernetes/readiness.ts'
import {
  completed,
  type DryRun,
  type DryRunContext,
  type PerformContext,
  type Performed,
  type Records,
  RefusedError,
  waitUntilReady,
} from './define-operation.ts'
import { describeObject, fillBasePath, type TargetObject } from './object-target.ts'

/** Refuses what the records know to be gone. */
export async function refuseDeleted(target: TargetObject, records: Records): Promise<void> {
  const record = await records.find(target)
  if (record?.state !== 'deleted') return
  throw new RefusedError(`${describeObject(target)} was already deleted.`, { status: 404, code: 'not_found' })
}

/** Deletes an object and waits until it is gone, finalizers included. One that is not there is success. */
export async function deleteObject(context: PerformContext, target: TargetObject): Promise<Performed> {
  const { cluster, ref } = target
  const connection = context.cluster(cluster)
  const basePath = fillBasePath(connection, target)
  const object = await connection.get(ref, { basePath, signal: context.signal })
  if (!object) {
    const result = { ...identityOf(target), already_gone: true }
    return completed(result, { cluster, ref, basePath, state: 'deleted', conditions: [] })
  }
  // Pinned to the object that was looked at: a namesake made in between stays.
  if (!object.metadata.deletionTimestamp) {
    await connection.delete(ref, { uid: object.metadata.uid, basePath, signal: context.signal })
  }
  return waitUntilReady({ cluster, ref, basePath, uid: object.metadata.uid, rules: deletionRules })
}

/** The result of a deletion that was waited for. */
export const deletedResult = (target: TargetObject) => ({ ...identityOf(target), already_gone: false })

export async function previewDelete(context: DryRunContext, target: TargetObject): Promise<DryRun> {
  const { cluster, ref } = target
  const connection = context.cluster(cluster)
  const basePath = fillBasePath(connection, target)
  const object = await connection.get(ref, { basePath, signal: context.signal })
  if (!object) return { diff: '', warnings: [`There is no ${describeObject(target)}: nothing would change.`] }
  const warnings: string[] = []
  const onWarning = (text: string) => void warnings.push(text)
  await connection.delete(ref, { uid: object.metadata.uid, dryRun: true, basePath, onWarning, signal: context.signal })
  return { diff: `- ${ref.kind} ${ref.name} (uid ${object.metadata.uid})`, warnings }
}

function identityOf({ cluster, ref }: TargetObject) {
  return { name: ref.name, ...(ref.namespace !== undefined && { namespace: ref.namespace }), cluster }
}
