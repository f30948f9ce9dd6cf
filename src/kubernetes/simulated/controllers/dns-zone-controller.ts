import { dnsZoneKind } from '../kinds/dns-zone.ts'
import { stringAt } from '../json.ts'
import type { KubernetesObject, StatusCondition } from '../kubernetes-object.ts'
import { guardDeletion, type Controller, type ControllerContext } from './controller.ts'
import { stepStages, writeConditions, type StagedKind } from './staged-conditions.ts'

const finalizer = 'dns.networking.miloapis.com/finalize-dnszone'

function both(accepted: Omit<StatusCondition, 'type'>, programmed: Omit<StatusCondition, 'type'>): StatusCondition[] {
  return [
    { type: 'Accepted', ...accepted },
    { type: 'Programmed', ...programmed },
  ]
}

function pending(message: string): StatusCondition[] {
  const condition = { status: 'False', reason: 'Pending', message } as const
  return both(condition, condition)
}

const accepted = { status: 'True', reason: 'Accepted', message: 'DNSZone accepted' } as const

const stages: StagedKind = {
  kind: dnsZoneKind,
  manager: 'dnszone-controller',
  readyAfterMs: (_zone, { options }) => options.dnsZoneReadyAfterMs,
  pending: pending('Waiting for controller'),
  provisioning: both(accepted, { status: 'False', reason: 'Pending', message: 'Waiting for the backend' }),
  ready: both(accepted, { status: 'True', reason: 'Programmed', message: 'DNSZone programmed' }),
  failed: (reason = 'DNSZoneInUse') => {
    const message = 'DNSZone claimed by another resource'
    return both({ status: 'False', reason, message }, { status: 'False', reason, message })
  },
  observedGeneration: true,
  readyStatus: () => ({ nameservers: ['ns1.simulated.example', 'ns2.simulated.example'], recordCount: 2 }),
}

export const dnsZoneController: Controller = {
  name: 'dns-zone',
  group: dnsZoneKind.group,
  plural: dnsZoneKind.plural,
  reconcile(zone: KubernetesObject, context: ControllerContext) {
    const deletion = guardDeletion(zone, dnsZoneKind, finalizer, context)
    if (deletion !== undefined) return deletion.wait
    const zoneClass = stringAt(zone, 'spec', 'dnsZoneClassName') ?? ''
    if (!zoneClass.startsWith('missing-')) return stepStages(zone, stages, context)
    // As on the real system: the reason is the same as on the normal path, only the message tells.
    const conditions = pending(`DNSZoneClass ${JSON.stringify(zoneClass)} not found`)
    writeConditions(zone, stages, { conditions, more: {}, context })
    return undefined
  },
}
