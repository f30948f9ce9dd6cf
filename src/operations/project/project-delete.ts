import { z } from 'zod'
import { deletionRules } from '../../kubernetes/readiness.ts'
import { completed, defineOperation, RefusedError, waitUntilReady } from '../define-operation.ts'
import { clusterName, objectName } from '../input-fields.ts'
import { projectRef, projectTarget } from './project-object.ts'

/** `DELETE /projects/{name}`: done when the object is gone, finalizers included. */
export const projectDelete = defineOperation({
  type: 'project.delete',
  title: 'Delete a project',
  route: { method: 'DELETE', path: '/projects/:name' },
  input: z.strictObject({ name: objectName(55), cluster: clusterName }),
  class: 'short',
  cluster: ({ cluster }) => cluster,
  uniqueKey: ({ cluster, name }) => `${cluster}/${name}`,
  target: ({ cluster, name }) => projectTarget(cluster, name),

  async precheck({ cluster, name }, records) {
    const record = await records.find(cluster, projectRef(name))
    if (record?.state === 'deleted') {
      throw new RefusedError(`Project ${name} in cluster ${cluster} was already deleted.`, {
        status: 404,
        code: 'not_found',
      })
    }
  },

  async perform(context, { cluster, name }) {
    const ref = projectRef(name)
    const connection = context.cluster(cluster)
    const object = await connection.get(ref, { signal: context.signal })
    if (!object) {
      return completed({ name, cluster, already_gone: true }, { cluster, ref, state: 'deleted', conditions: [] })
    }
    // Pinned to the object that was looked at: a namesake made in between stays.
    if (!object.metadata.deletionTimestamp) {
      await connection.delete(ref, { uid: object.metadata.uid, signal: context.signal })
    }
    return waitUntilReady({ cluster, ref, uid: object.metadata.uid, rules: deletionRules })
  },

  finish: (_object, { name, cluster }) => ({ name, cluster, already_gone: false }),

  async dryRun(context, { cluster, name }) {
    const object = await context.cluster(cluster).get(projectRef(name), { signal: context.signal })
    return object
      ? { diff: `- Project ${name} (uid ${object.metadata.uid})`, warnings: [] }
      : { diff: '', warnings: [`There is no project ${name} in cluster ${cluster}: nothing would change.`] }
  },
})
