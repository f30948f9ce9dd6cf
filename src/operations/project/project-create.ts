import { z } from 'zod'
import { projectReadiness } from '../../kubernetes/readiness.ts'
import { applyOwn, previewApply } from '../apply-own.ts'
import { defineOperation, waitUntilReady } from '../define-operation.ts'
import { clusterName, objectName } from '../input-fields.ts'
import { projectApiVersion, projectRef, projectTarget } from './project-object.ts'

const input = z.strictObject({
  name: objectName(55).describe('Name of the project, unique in its cluster'),
  organization: objectName(63).describe('The organization that owns the project'),
  display_name: z.string().min(1).max(255).optional(),
  cluster: clusterName,
})
type ProjectCreateInput = z.output<typeof input>

/** `POST /projects`: made by server-side apply, ready when its control plane says Ready=True. */
export const projectCreate = defineOperation({
  type: 'project.create',
  title: 'Create a project',
  route: { method: 'POST', path: '/projects' },
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  uniqueKey: ({ cluster, name }) => `${cluster}/${name}`,
  target: ({ cluster, name }) => projectTarget(cluster, name),

  async perform(context, project) {
    const object = await applyOwn(context, project.cluster, desiredProject(project))
    return waitUntilReady({
      cluster: project.cluster,
      ref: projectRef(project.name),
      uid: object.metadata.uid,
      generation: object.metadata.generation,
      resourceVersion: object.metadata.resourceVersion,
      rules: projectReadiness,
    })
  },

  finish: (object, { name, cluster }) => ({ name, cluster, uid: object?.metadata.uid ?? null }),

  dryRun: (context, project) => previewApply(context, project.cluster, desiredProject(project)),
})

function desiredProject({ name, organization, display_name }: ProjectCreateInput) {
  return {
    apiVersion: projectApiVersion,
    kind: 'Project',
    metadata: {
      name,
      ...(display_name !== undefined && { annotations: { 'kubernetes.io/display-name': display_name } }),
    },
    spec: { ownerRef: { kind: 'Organization', name: organization } },
  }
}
