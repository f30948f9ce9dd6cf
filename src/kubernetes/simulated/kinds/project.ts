import { defineKind } from '../define-kind.ts'
import { forbiddenField, tooLong, type FieldError } from '../field-error.ts'
import { equalJson, valueAt } from '../json.ts'
import type { KubernetesObject } from '../kubernetes-object.ts'
import { conditions, object } from '../schema.ts'

const longestName = 55

/** Datum's Project: cluster-scoped, owned by an organization. */
export const projectKind = defineKind({
  group: 'resourcemanager.miloapis.com',
  version: 'v1alpha1',
  kind: 'Project',
  plural: 'projects',
  namespaced: false,
  custom: true,
  schema: object(
    {
      spec: object(
        {
          ownerRef: object(
            {
              kind: { type: 'string', enum: ['Organization'] },
              name: { type: 'string', minLength: 1 },
            },
            ['kind', 'name'],
          ),
        },
        ['ownerRef'],
      ),
      status: object({ conditions }),
    },
    ['spec'],
  ),
  columns: [
    { name: 'Organization', type: 'string', value: '.spec.ownerRef.name' },
    { name: 'Ready', type: 'string', value: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'Reason', type: 'string', priority: 1, value: '.status.conditions[?(@.type=="Ready")].reason' },
  ],
  hooks: { validate: validateProject },
})

function validateProject(project: KubernetesObject, live: KubernetesObject | undefined): FieldError[] {
  const errors: FieldError[] = []
  if (project.metadata.name.length > longestName) errors.push(tooLong('metadata.name', longestName))
  const owner = valueAt(project, 'spec', 'ownerRef')
  if (live !== undefined && !equalJson(owner, valueAt(live, 'spec', 'ownerRef'))) {
    errors.push(forbiddenField('spec.ownerRef', 'field is immutable'))
  }
  return errors
}
