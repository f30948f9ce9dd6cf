import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { stopLeftoverServer } from '../../src/cli/embedded-postgres/leftover-server.ts'
import { startEmbeddedPostgres } from '../../src/cli/embedded-postgres/start-embedded-postgres.ts'
import { FolderLockedError, lockFolder } from '../../src/cli/folder-lock.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A superuser's URL of the PostgreSQL on which the test databases are made. */
    readonly postgresUrl: string
  }
}

const folderPrefix = 'sluice-test-'

/**
 * One PostgreSQL for the whole run: the one that SLUICE_TEST_DATABASE_URL names (its user must be a superuser), else an
 * embedded one that is gone afterwards.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['SLUICE_TEST_DATABASE_URL']
  if (given !== undefined && given !== '') {
    project.provide('postgresUrl', given)
    return () => Promise.resolve()
  }
  await removeAbandonedFolders()
  const dataDir = await mkdtemp(join(tmpdir(), folderPrefix))
  const server = await startEmbeddedPostgres({
    dataDir,
    // The data is thrown away, so it need not survive a power cut. Connections: several processes in one test, two files at once.
    settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300' },
  })
  project.provide('postgresUrl', server.connectionString)
  return async () => {
    await server.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** What a run left behind that was killed with SIGKILL. */
async function removeAbandonedFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const folder = join(tmpdir(), name)
    const lockPath = join(folder, 'embedded-postgres.lock')
    if (!name.startsWith(folderPrefix) || !(await stat(lockPath).catch(() => undefined))) continue
    try {
      await lockFolder(lockPath)
      if (await stat(join(folder, 'postgres')).catch(() => undefined))
        await stopLeftoverServer(join(folder, 'postgres'))
      await rm(folder, { recursive: true, force: true })
    } catch (error) {
      // Another run is using it, or another user's run left it: neither is ours to remove.
      if (!(error instanceof FolderLockedError) && !(error instanceof Error && 'code' in error)) throw error
    }
  }
}
