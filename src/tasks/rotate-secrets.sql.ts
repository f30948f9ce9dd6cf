import { type RawBuilder, sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** Where secrets stand: which column, and what tells its rows apart. */
export type SecretPlace = 'webhook_secret' | 'webhook_previous_secret' | 'webhook_url' | 'cluster' | 'input'

export interface SealedRow {
  readonly tenant: string
  /** Unique among those of its place: where a page goes on. */
  readonly key: string
  readonly sealed: string
}

interface Place {
  readonly table: RawBuilder<unknown>
  readonly column: RawBuilder<unknown>
  readonly key: RawBuilder<unknown>
  readonly where: RawBuilder<unknown>
}

const places = {
  webhook_secret: {
    table: sql`sluice.webhooks`,
    column: sql`sealed_secret`,
    key: sql`webhook_id::text`,
    where: sql`sealed_secret is not null`,
  },
  webhook_previous_secret: {
    table: sql`sluice.webhooks`,
    column: sql`sealed_previous_secret`,
    key: sql`webhook_id::text`,
    where: sql`sealed_previous_secret is not null`,
  },
  webhook_url: {
    table: sql`sluice.webhooks`,
    column: sql`url`,
    key: sql`webhook_id::text`,
    where: sql`style = 'slack'`,
  },
  cluster: {
    table: sql`sluice.clusters`,
    column: sql`sealed_credentials`,
    key: sql`tenant_id || '/' || name`,
    where: sql`sealed_credentials is not null`,
  },
  input: {
    table: sql`sluice.input_secrets`,
    column: sql`sealed`,
    key: sql`owner_id || pointer`,
    where: sql`true`,
  },
} as const satisfies Record<SecretPlace, Place>

// The object above has exactly these keys.
export const secretPlaces = Object.keys(places) as SecretPlace[]

/** By their keys, of every tenant. */
export async function selectSealed(
  tx: Transaction,
  place: SecretPlace,
  page: { readonly after: string; readonly limit: number },
): Promise<SealedRow[]> {
  const { table, column, key, where } = places[place]
  const { rows } = await sql<SealedRow>`
    select tenant_id as tenant, ${key} as key, ${column} as sealed from ${table}
    where ${where} and ${key} > ${page.after} order by ${key} limit ${page.limit}`.execute(tx)
  return rows
}

/** False when it was changed meanwhile: then it is under a newer key already. */
export async function replaceSealed(
  tx: Transaction,
  place: SecretPlace,
  row: SealedRow & { readonly rewrapped: string },
): Promise<boolean> {
  const { table, column, key } = places[place]
  const { numAffectedRows = 0n } = await sql`update ${table} set ${column} = ${row.rewrapped}
    where ${key} = ${row.key} and tenant_id = ${row.tenant} and ${column} = ${row.sealed}`.execute(tx)
  return numAffectedRows === 1n
}
