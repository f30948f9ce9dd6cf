import type { TargetObject } from '../object-target.ts'

export const dnsZoneApiVersion = 'dns.networking.miloapis.com/v1alpha1'

export interface DnsZoneIdentity {
  readonly name: string
  readonly namespace: string
  readonly cluster: string
  readonly project?: string | undefined
}

/** On a control plane with a base path per project, the project says which. */
export const dnsZoneTarget = ({ cluster, namespace, name, project }: DnsZoneIdentity): TargetObject => ({
  cluster,
  ref: { apiVersion: dnsZoneApiVersion, kind: 'DNSZone', namespace, name },
  basePath: { project },
})
