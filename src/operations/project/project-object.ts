import type { TargetObject } from '../object-target.ts'

export const projectApiVersion = 'resourcemanager.miloapis.com/v1alpha1'

export interface ProjectIdentity {
  readonly name: string
  readonly cluster: string
  readonly organization?: string | undefined
}

/** On a control plane with a base path per organization, the organization says which. */
export const projectTarget = ({ cluster, name, organization }: ProjectIdentity): TargetObject => ({
  cluster,
  ref: { apiVersion: projectApiVersion, kind: 'Project', name },
  basePath: { org: organization },
})
