import type { Client } from 'pg'
import { engineSchema } from './engine-schema.ts'

/**
 * Has the engine's jobs vacuumed after 1 % of them. A storage parameter goes on the tables that hold rows, not on the
 * partitioned one, and which tables these are is the engine's affair: so after each migration of the engine, and only
 * where it is not so already, since the statement waits for a vacuum that is under way.
 */
export async function setEngineStorage(client: Client): Promise<void> {
  const { rows } = await client.query<{ leaf: string }>(`
    select format('%I.%I', n.nspname, c.relname) as leaf
    from pg_partition_tree('${engineSchema}.job') t join pg_class c on c.oid = t.relid join pg_namespace n on n.oid = c.relnamespace
    where t.isleaf and not coalesce('${scaleFactor}' = any(c.reloptions), false)`)
  for (const { leaf } of rows) {
    await client.query(`alter table ${leaf} set (${scaleFactor})`)
  }
}

const scaleFactor = 'autovacuum_vacuum_scale_factor=0.01'
