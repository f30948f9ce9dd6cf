import type { Client } from 'pg'

/** The server's version, and whether it has a database of this name. */
export async function findDatabase(client: Client, name: string): Promise<{ version: string; exists: boolean }> {
  const { rows } = await client.query<{ version: string; exists: boolean }>(
    `select current_setting('server_version') as version, exists (select from pg_database where datname = $1)`,
    [name],
  )
  return rows[0] ?? { version: '', exists: false }
}

/** @param name one of ours: an identifier takes no parameter */
export async function createDatabase(client: Client, name: string): Promise<void> {
  await client.query(`create database ${name}`)
}
