import { z } from 'zod'
import { dnsZoneReadiness } from '../../kubernetes/readiness.ts'
import { applyObject, previewApply, waitForApplied } from '../apply-own.ts'
import { defineOperation } from '../define-operation.ts'
import { clusterName, objectName } from '../input-fields.ts'
import { dnsZoneApiVersion, dnsZoneTarget } from './dns-zone-object.ts'

const label = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'

const input = z.strictObject({
  name: objectName(63),
  namespace: objectName(63).default('default'),
  domain_name: z
    .string()
    .max(253)
    .regex(new RegExp(`^(${label}\\.)+${label}$`), 'must be a lower-case domain name with a dot, such as example.com'),
  dns_zone_class_name: objectName(253).describe('The class of DNS servers that serve the zone'),
  project: objectName(63).optional().describe('Only for a control plane with a base path per project'),
  cluster: clusterName,
})

/** `POST /dns-zones`: ready when the zone is Accepted and Programmed. Its domain can never be changed. */
export const dnsZoneCreate = defineOperation({
  type: 'dns-zone.create',
  title: 'Create a DNS zone',
  route: { method: 'POST', path: '/dns-zones' },
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  uniqueKey: dnsZoneTarget,
  target: dnsZoneTarget,

  async perform(context, zone) {
    const target = dnsZoneTarget(zone)
    const object = await applyObject(context, { target, desired: desiredZone(zone), mustBeOurs: true })
    return waitForApplied(context, { target, object, rules: dnsZoneReadiness })
  },

  finish: (object, { name, namespace, domain_name, cluster }) => ({
    name,
    namespace,
    cluster,
    domain_name,
    uid: object?.metadata.uid ?? null,
    nameservers: nameserversOf(object?.['status']),
  }),

  dryRun: (context, zone) =>
    previewApply(context, { target: dnsZoneTarget(zone), desired: desiredZone(zone), mustBeOurs: true }),
})

function desiredZone({ name, namespace, domain_name, dns_zone_class_name }: z.output<typeof input>) {
  return {
    apiVersion: dnsZoneApiVersion,
    kind: 'DNSZone',
    metadata: { name, namespace },
    spec: { domainName: domain_name, dnsZoneClassName: dns_zone_class_name },
  }
}

const statusSchema = z.object({ nameservers: z.array(z.string()) })

function nameserversOf(status: unknown): string[] {
  return statusSchema.safeParse(status).data?.nameservers ?? []
}
