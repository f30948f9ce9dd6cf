import { z } from 'zod'
import { projectReadiness } from '../../kubernetes/readiness.ts'
import { applyObject, previewApply, waitForApplied } from '../apply-own.ts'
import { defineOperation } from '../define-operation.ts'
import { clusterName, objectName } from '../input-fields.ts'
import { projectApiVersion, projectTarget } from './project-object.ts'

const input = z.strictObject({
  name: objectName(55).describe('Name of the project, unique in its cluster'),
  organization: objectName(63).describe('The organization that owns the project'),
  display_name: z.string().min(1).max(255).optional(),
  cluster: clusterName,
})

/** `POST /projects`: made by server-side apply, ready when its control plane says Ready=True. */
export const projectCreate = defineOperation({
  type: 'project.create',
  title: 'Create a project',
  route: { method: 'POST', path: '/projects' },
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  organization: ({ organization }) => organization,
  uniqueKey: projectTarget,
  target: projectTarget,

  async perform(context, project) {
    const target = projectTarget(project)
    const object = await applyObject(context, { target, desired: desiredProject(project), mustBeOurs: true })
    return waitForApplied(context, { target, object, rules: projectReadiness })
  },

  finish: (object, { name, cluster }) => ({ name, cluster, uid: object?.metadata.uid ?? null }),

  dryRun: (context, project) =>
    previewApply(context, { target: projectTarget(project), desired: desiredProject(project), mustBeOurs: true }),
})

function desiredProject({ name, organization, display_name }: z.output<typeof input>) {
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
