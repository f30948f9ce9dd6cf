import type { Selectable } from 'kysely'
import type { z } from 'zod'
import type { resourceListQuerySchema } from '../contract/resource.ts'
import type { Transaction } from '../database/database.ts'
import type { ResourcesTable } from '../database/tables.ts'

export type ResourceListQuery = z.output<typeof resourceListQuerySchema>

export interface ResourceSelection {
  readonly tenant: string
  readonly query: ResourceListQuery
  /** Last target of the page before. */
  readonly after: string | undefined
  readonly limit: number
}

/** In the order of their targets. */
export function selectResources(tx: Transaction, selection: ResourceSelection): Promise<Selectable<ResourcesTable>[]> {
  const { tenant, query, after, limit } = selection
  const { cluster, base_path: basePath, kind, namespace, name, state, drift } = query
  return tx
    .selectFrom('resources')
    .selectAll()
    .where('tenant_id', '=', tenant)
    .$if(cluster !== undefined, (b) => b.where('cluster', '=', cluster ?? ''))
    .$if(basePath !== undefined, (b) => b.where('base_path', '=', basePath ?? ''))
    .$if(kind !== undefined, (b) => b.where('kind', '=', kind ?? ''))
    .$if(namespace !== undefined, (b) => b.where('namespace', '=', namespace ?? ''))
    .$if(name !== undefined, (b) => b.where('name', '=', name ?? ''))
    .$if(state !== undefined, (b) => b.where('state', '=', state ?? 'present'))
    .$if(drift === 'any', (b) => b.where('drift', 'is not', null))
    .$if(drift === 'changed' || drift === 'deleted', (b) =>
      b.where('drift', '=', drift === 'changed' ? drift : 'deleted'),
    )
    .$if(after !== undefined, (b) => b.where('target', '>', after ?? ''))
    .orderBy('target')
    .limit(limit)
    .execute()
}
