import type { ObjectRef } from '../../kubernetes/cluster.ts'
import type { ReadinessRules } from '../../kubernetes/readiness.ts'

export const projectApiVersion = 'resourcemanager.miloapis.com/v1alpha1'

export const projectRef = (name: string): ObjectRef => ({ apiVersion: projectApiVersion, kind: 'Project', name })

export const projectTarget = (cluster: string, name: string): string =>
  `${cluster}:resourcemanager.miloapis.com/Project//${name}`
