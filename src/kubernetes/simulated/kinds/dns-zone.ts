import { defineKind } from '../define-kind.ts'
import { invalid, type FieldError } from '../field-error.ts'
import { stringAt } from '../json.ts'
import type { KubernetesObject } from '../kubernetes-object.ts'
import { conditions, list, listMap, object, integer, string } from '../schema.ts'

export const dnsZoneKind = defineKind({
  group: 'dns.networking.miloapis.com',
  version: 'v1alpha1',
  kind: 'DNSZone',
  plural: 'dnszones',
  namespaced: true,
  custom: true,
  schema: object(
    {
      spec: object(
        {
          domainName: {
            type: 'string',
            minLength: 1,
            maxLength: 253,
            pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$',
          },
          dnsZoneClassName: string,
        },
        ['domainName', 'dnsZoneClassName'],
      ),
      status: object({
        conditions,
        nameservers: list(string),
        recordCount: integer,
        domainRef: object({
          name: string,
          status: object({ nameservers: listMap(['hostname'], object({ hostname: string }, ['hostname'])) }),
        }),
      }),
    },
    ['spec'],
  ),
  columns: [
    { name: 'Accepted', type: 'string', value: '.status.conditions[?(@.type=="Accepted")].status' },
    { name: 'Programmed', type: 'string', value: '.status.conditions[?(@.type=="Programmed")].status' },
    { name: 'Records', type: 'integer', value: '.status.recordCount' },
  ],
  selectableFields: ['spec.domainName', 'status.domainRef.name'],
  hooks: { validate: keepDomain },
})

function keepDomain(zone: KubernetesObject, live: KubernetesObject | undefined): FieldError[] {
  const domain = stringAt(zone, 'spec', 'domainName')
  if (live === undefined || domain === stringAt(live, 'spec', 'domainName')) return []
  return [invalid('spec.domainName', domain, 'A domain name is immutable and cannot be changed after creation')]
}
