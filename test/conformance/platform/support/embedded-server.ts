import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '../../../../src/cli/embedded-postgres/start-embedded-postgres.ts'
import type { ServerProcess } from './server-process.ts'

/** A PostgreSQL of the test's own, which may be killed: the one that all tests share must not be. */
export async function startPostgres(): Promise<ServerProcess & { readonly url: string }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-killed-'))
  let server = await startEmbeddedPostgres({ dataDir })
  return {
    port: server.port,
    url: server.connectionString,
    kill: async () => {
      const [pid] = (await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')
      process.kill(Number(pid), 'SIGKILL')
      // The lock on the folder only; the server is gone.
      await server.stop()
    },
    restart: async () => {
      server = await startEmbeddedPostgres({ dataDir })
    },
    stop: async () => {
      await server.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
