import { z } from 'zod'
import { checkExpression, readinessRulesSchema, rulesForKind } from '../../kubernetes/readiness.ts'
import { secretPathsOf } from '../../kubernetes/secret-fields.ts'
import { applyObject, previewApply, waitForApplied } from '../apply-own.ts'
import { defineOperation } from '../define-operation.ts'
import { clusterName } from '../input-fields.ts'
import { asDesired, basePathVariables, resourceTarget } from './resource-object.ts'

const object = z
  .looseObject({
    apiVersion: z.string().regex(/^([a-z0-9.-]+\/)?v[a-z0-9]+$/, 'must be a version such as apps/v1'),
    kind: z.string().regex(/^[A-Z][A-Za-z0-9]*$/, 'must be a kind such as Deployment'),
    metadata: z.looseObject({
      name: z.string().min(1).max(253),
      namespace: z.string().min(1).max(63).optional(),
      labels: z.record(z.string(), z.string()).optional(),
      annotations: z.record(z.string(), z.string()).optional(),
      generateName: z.never('cannot be applied: give a name').optional(),
    }),
  })
  .describe('The object, as in a manifest')

const input = z.strictObject({
  object,
  readiness: readinessRulesSchema.optional().describe('When it counts as ready; by default what its kind needs'),
  base_path: basePathVariables,
  cluster: clusterName,
})

const targetOf = (request: z.output<typeof input>) => resourceTarget(request, request.object)

/** Any kind: server-side apply, then wait by the rules of the request. Made by `POST /tasks`. */
export const resourceApply = defineOperation({
  type: 'resource.apply',
  title: 'Apply any Kubernetes object',
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  target: targetOf,
  validate: ({ readiness }) =>
    (['ready', 'failed'] as const).flatMap((field) => {
      const expression = readiness?.[field]
      const problem = expression === undefined ? undefined : checkExpression(expression)
      return problem === undefined ? [] : [{ pointer: `/readiness/${field}`, message: problem }]
    }),
  secrets: ({ object: manifest }) =>
    secretPathsOf(manifest).map((path) => ['object', ...path].map(pointerPart).join('')),

  async perform(context, request) {
    const target = targetOf(request)
    const applied = await applyObject(context, { target, desired: asDesired(request.object), mustBeOurs: false })
    const rules = request.readiness ?? rulesForKind(target.ref.apiVersion, target.ref.kind)
    return waitForApplied(context, { target, object: applied, rules })
  },

  finish: (ready, { object: { apiVersion, kind, metadata }, cluster }) => ({
    api_version: apiVersion,
    kind,
    name: metadata.name,
    ...(metadata.namespace !== undefined && { namespace: metadata.namespace }),
    cluster,
    uid: ready?.metadata.uid ?? null,
  }),

  dryRun: (context, request) =>
    previewApply(context, {
      target: targetOf(request),
      desired: asDesired(request.object),
      mustBeOurs: false,
    }),
})

/** RFC 6901. */
const pointerPart = (key: string | number): string => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`
