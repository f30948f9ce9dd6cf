import { z } from 'zod'
import { defineOperation } from '../define-operation.ts'
import { deletedResult, deleteObject, previewDelete, refuseDeleted } from '../delete-object.ts'
import { clusterName } from '../input-fields.ts'
import { basePathVariables, resourceTarget } from './resource-object.ts'

const input = z.strictObject({
  api_version: z.string().min(1).max(317),
  kind: z.string().min(1).max(63),
  name: z.string().min(1).max(253),
  namespace: z.string().min(1).max(63).optional(),
  base_path: basePathVariables,
  cluster: clusterName,
})

const targetOf = ({ api_version, kind, name, namespace, ...request }: z.output<typeof input>) =>
  resourceTarget(request, { apiVersion: api_version, kind, metadata: { name, namespace } })

/** Any kind: deleted with its uid as precondition, done when it is gone. Made by `POST /tasks`. */
export const resourceDelete = defineOperation({
  type: 'resource.delete',
  title: 'Delete any Kubernetes object',
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  target: targetOf,
  precheck: (request, records) => refuseDeleted(targetOf(request), records),
  perform: (context, request) => deleteObject(context, targetOf(request)),
  finish: (_object, request) => deletedResult(targetOf(request)),
  dryRun: (context, request) => previewDelete(context, targetOf(request)),
})
