import { defineKind } from '../define-kind.ts'
import { tooLong, type FieldError } from '../field-error.ts'
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

function validateProject(project: KubernetesObject): FieldError[] {
  return project.metadata.name.length > longestName ? [tooLong('metadata.name', longestName)] : []
}
