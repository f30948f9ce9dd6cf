import type { Client } from 'pg'
import { engineSchema } from './engine-schema.ts'

/** Lets Sluice's roles use the engine. Granting again changes nothing. */
export async function grantEngine(client: Client): Promise<void> {
  await client.query(grants)
}

// What the engine's own statements need when they run in our transactions, under our roles.
const grants = `
  grant usage on schema ${engineSchema} to sluice_api, sluice_worker;
  grant select on all tables in schema ${engineSchema} to sluice_api, sluice_worker;
  grant execute on all functions in schema ${engineSchema} to sluice_api, sluice_worker;
  grant insert, update on ${engineSchema}.job, ${engineSchema}.job_common to sluice_api;
  grant insert, update, delete on ${engineSchema}.job, ${engineSchema}.job_common to sluice_worker;
`
