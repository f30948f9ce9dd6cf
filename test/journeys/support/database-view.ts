import { Client } from 'pg'
import { fromWireId } from '../../../src/contract/ids.ts'

export interface JobRow {
  readonly id: string
  readonly queue: string
  readonly state: string
}

export interface RecordRow {
  readonly name: string
  readonly uid: string | null
  readonly state: 'present' | 'deleted'
  readonly ready: string | null
}

/** What stands in the tables, past the API. */
export interface DatabaseView {
  /** Every job about a task: its own, and those that finish its waits. */
  jobsOf(taskId: string): Promise<JobRow[]>
  /** How many waits a task has parked. */
  waitsOf(taskId: string): Promise<number>
  recordOf(name: string): Promise<RecordRow | undefined>
  rows<Row extends object>(sql: string, values?: readonly unknown[]): Promise<Row[]>
  close(): Promise<void>
}

export async function openDatabaseView(url: string): Promise<DatabaseView> {
  const client = new Client({ connectionString: url, application_name: 'test looks' })
  client.on('error', () => undefined)
  await client.connect()
  // Each query names its columns as the row's fields.
  const rows = async <Row extends object>(sql: string, values: readonly unknown[] = []) =>
    (await client.query(sql, [...values])).rows as Row[]
  const uuidOf = (taskId: string) => fromWireId('task', taskId)
  return {
    rows,
    jobsOf: (taskId) =>
      rows<JobRow>(
        `select id, name as queue, state::text from pgboss.job
         where data->>'eventId' in (select event_id::text from sluice.domain_events where task_id = $1)
         order by name desc, created_on, id`,
        [uuidOf(taskId)],
      ),
    waitsOf: async (taskId) => (await rows('select from sluice.waits where task_id = $1', [uuidOf(taskId)])).length,
    recordOf: async (name) => {
      const [record] = await rows<RecordRow>(
        `select name, uid, state, jsonb_path_query_first(conditions, '$[*] ? (@.type == "Ready").status') #>> '{}' as ready
         from sluice.resources where name = $1`,
        [name],
      )
      return record
    },
    close: () => client.end(),
  }
}
