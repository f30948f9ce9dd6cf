import { z } from 'zod'
import { defineOperation } from '../define-operation.ts'
import { deletedResult, deleteObject, previewDelete, refuseDeleted } from '../delete-object.ts'
import { clusterName, objectName } from '../input-fields.ts'
import { projectTarget } from './project-object.ts'

const input = z.strictObject({
  name: objectName(55),
  organization: objectName(63).optional().describe('Only for a control plane with a base path per organization'),
  cluster: clusterName,
})

/** `DELETE /projects/{name}`: done when the object is gone, finalizers included. */
export const projectDelete = defineOperation({
  type: 'project.delete',
  title: 'Delete a project',
  route: { method: 'DELETE', path: '/projects/:name' },
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  uniqueKey: projectTarget,
  target: projectTarget,
  precheck: (project, records) => refuseDeleted(projectTarget(project), records),
  perform: (context, project) => deleteObject(context, projectTarget(project)),
  finish: (_object, project) => deletedResult(projectTarget(project)),
  dryRun: (context, project) => previewDelete(context, projectTarget(project)),
})
