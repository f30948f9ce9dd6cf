import { z } from 'zod'
import { defineOperation } from '../define-operation.ts'
import { deletedResult, deleteObject, previewDelete, refuseDeleted } from '../delete-object.ts'
import { clusterName, objectName } from '../input-fields.ts'
import { dnsZoneTarget } from './dns-zone-object.ts'

/** `DELETE /dns-zones/{namespace}/{name}`: done when the zone is gone, finalizers included. */
export const dnsZoneDelete = defineOperation({
  type: 'dns-zone.delete',
  title: 'Delete a DNS zone',
  route: { method: 'DELETE', path: '/dns-zones/:namespace/:name' },
  input: z.strictObject({
    name: objectName(63),
    namespace: objectName(63),
    project: objectName(63).optional(),
    cluster: clusterName,
  }),
  class: 'short',
  cluster: ({ cluster }) => cluster,
  uniqueKey: dnsZoneTarget,
  target: dnsZoneTarget,
  precheck: (zone, records) => refuseDeleted(dnsZoneTarget(zone), records),
  perform: (context, zone) => deleteObject(context, dnsZoneTarget(zone)),
  finish: (_object, zone) => deletedResult(dnsZoneTarget(zone)),
  dryRun: (context, zone) => previewDelete(context, dnsZoneTarget(zone)),
})
