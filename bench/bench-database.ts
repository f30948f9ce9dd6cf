import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { startEmbeddedPostgres } from '../src/cli/embedded-postgres/start-embedded-postgres.ts'
import { migrate } from '../src/queue/migrate.ts'

export interface BenchDatabase {
  readonly url: string
  stop(): Promise<void>
}

/** A migrated database of its own: on `BENCH_DATABASE_URL`'s server, or on an embedded PostgreSQL with its usual settings. */
export async function openBenchDatabase(): Promise<BenchDatabase> {
  const server = process.env['BENCH_DATABASE_URL'] ?? undefined
  const embedded = server === undefined ? await startEmbedded() : undefined
  const base = server ?? embedded?.url ?? ''
  const name = `sluice_bench_${randomUUID().slice(0, 8)}`
  await administer(base, `create database ${name}`)
  const url = new URL(base)
  url.pathname = `/${name}`
  await migrate(url.href)
  return {
    url: url.href,
    stop: async () => {
      await administer(base, `drop database ${name} with (force)`)
      await embedded?.stop()
    },
  }
}

async function startEmbedded() {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const postgres = await startEmbeddedPostgres({ dataDir })
  return {
    url: postgres.connectionString,
    stop: async () => {
      await postgres.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query(statement)
  await client.end()
}

/** The value below which the given share of the samples lies. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5)
