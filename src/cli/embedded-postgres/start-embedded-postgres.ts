import { join } from 'node:path'
import { Client, DatabaseError } from 'pg'
import { CannotStartError } from '../cannot-start-error.ts'
import { describeUnusable, openDataFolder } from '../data-folder.ts'
import { FolderLockedError, lockFolder } from '../folder-lock.ts'
import type { FolderLock } from '../folder-lock.ts'
import {
  checkCluster,
  createCluster,
  giveClusterTo,
  readClusterOwner,
  removePartialClusters,
} from './cluster-folder.ts'
import { chooseConnectionSettings, readConnectionSettings, writeConnectionSettings } from './connection-settings.ts'
import type { ConnectionSettings } from './connection-settings.ts'
import { stopLeftoverServer } from './leftover-server.ts'
import { chooseAccount } from './postgres-account.ts'
import { findPostgresBinaries } from './postgres-binaries.ts'
import { PortTakenError, Postmaster } from './postmaster.ts'
import type { PostmasterOptions } from './postmaster.ts'
import { createDatabase, findDatabase } from './server.sql.ts'

export interface EmbeddedPostgresOptions {
  /** The folder that holds the cluster, its log and its password. Created (mode 0700) where it does not exist. */
  readonly dataDir: string
  /** Ends the start; what was started is stopped again. */
  readonly signal?: AbortSignal
  /** More server settings, such as `{ fsync: 'off' }` for tests. */
  readonly settings?: Readonly<Record<string, string>>
  /** Called when the server ends though nobody called `stop`. */
  readonly onUnexpectedEnd?: (message: string) => void
}

export interface EmbeddedPostgres {
  /** Holds the password. The database is called `sluice`. */
  readonly connectionString: string
  /** On 127.0.0.1; the same at every start unless somebody else took it. */
  readonly port: number
  /** Such as `18.4`. */
  readonly version: string
  /** Rolls back what is open, flushes what is committed, and leaves no process. May be called again. */
  stop(): Promise<void>
}

const databaseName = 'sluice'

const defaultSettings = {
  listen_addresses: '127.0.0.1',
  // A socket in the data folder would save microseconds and cost a path limit of 107 characters.
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  cluster_name: 'sluice',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_checkpoints: 'off',
} as const satisfies Record<string, string>

/**
 * Starts the PostgreSQL that comes with Sluice on `dataDir`, creating its cluster at the first start. It listens on
 * 127.0.0.1 only and asks for a random password. As root it runs as an unprivileged user, also where that user could not
 * enter the folder.
 * @throws CannotStartError with one sentence for everything that a person can mend
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = await openDataFolder(options.dataDir)
  const lock = await lockDataDir(dataDir)
  try {
    const { postmaster, settings } = await startServer(dataDir, options)
    try {
      const version = await prepareDatabase(dataDir, settings)
      return handOver({ postmaster, settings, version, dataDir, options, release: () => lock.release() })
    } catch (error) {
      await postmaster.stop()
      throw error
    }
  } catch (error) {
    await lock.release()
    throw isFileError(error) ? describeUnusable(dataDir, error) : error
  }
}

async function lockDataDir(dataDir: string): Promise<FolderLock> {
  try {
    return await lockFolder(join(dataDir, 'embedded-postgres.lock'))
  } catch (error) {
    if (!(error instanceof FolderLockedError)) throw describeUnusable(dataDir, error)
    throw new CannotStartError(
      `The data folder ${dataDir} is in use by another Sluice (process ${error.pid}). ` +
        'Stop that one, or choose another with --data.',
    )
  }
}

/** A full disk, a read-only one, a file that belongs to somebody else. */
function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'path' in error
}

async function startServer(
  dataDir: string,
  options: EmbeddedPostgresOptions,
): Promise<{ postmaster: Postmaster; settings: ConnectionSettings }> {
  const clusterDir = join(dataDir, 'postgres')
  await removePartialClusters(clusterDir)
  const exists = await checkCluster(dataDir, clusterDir)
  const account = await chooseAccount(await readClusterOwner(clusterDir))
  options.signal?.throwIfAborted()
  const { initdb, postgres } = await findPostgresBinaries(account)
  const kept = await readConnectionSettings(dataDir)
  if (exists && kept === undefined) throw passwordLost(dataDir)
  if (exists) await stopLeftoverServer(clusterDir)
  if (exists && account !== undefined) await giveClusterTo(clusterDir, account)

  let settings = await keepSettings(dataDir, kept)
  if (!exists) {
    const { password } = settings
    const sync = options.settings?.['fsync'] !== 'off'
    await createCluster(dataDir, clusterDir, { initdb, account, password, sync, ...pickSignal(options) })
  }
  for (let attempt = 1; ; attempt++) {
    const server: PostmasterOptions = {
      postgres,
      clusterDir,
      account,
      port: settings.port,
      logPath: join(dataDir, 'postgres.log'),
      settings: { ...defaultSettings, ...options.settings },
    }
    const postmaster = await Postmaster.spawn(server)
    try {
      await postmaster.waitUntilReady(options.signal)
      return { postmaster, settings }
    } catch (error) {
      if (!(error instanceof PortTakenError) || attempt === 5) throw error
      settings = await keepSettings(dataDir, settings)
    }
  }
}

async function keepSettings(dataDir: string, wanted: ConnectionSettings | undefined): Promise<ConnectionSettings> {
  const settings = await chooseConnectionSettings(wanted)
  if (settings !== wanted) await writeConnectionSettings(dataDir, settings)
  return settings
}

function pickSignal(options: EmbeddedPostgresOptions): { signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal }
}

function passwordLost(dataDir: string): CannotStartError {
  return new CannotStartError(
    `The password of the database in ${dataDir} is lost (embedded-postgres.json is missing or does not fit). ` +
      `Restore that file from a copy, or move ${dataDir} away to begin anew.`,
  )
}

/** Also the proof that the server answers with the kept password. @returns the server's version */
async function prepareDatabase(dataDir: string, settings: ConnectionSettings): Promise<string> {
  const client = new Client({
    connectionString: toConnectionString(settings, 'postgres'),
    connectionTimeoutMillis: 10_000,
  })
  try {
    await client.connect()
    const { version, exists } = await findDatabase(client, databaseName)
    if (!exists) await createDatabase(client, databaseName)
    return version
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    if (error.code === '28P01') throw passwordLost(dataDir)
    throw new CannotStartError(
      `The database in ${join(dataDir, 'postgres')} cannot be opened (${error.message}). ` +
        'If it is damaged, restore it from a copy or move it away to begin anew.',
      { cause: error },
    )
  } finally {
    await client.end()
  }
}

function toConnectionString({ port, password }: ConnectionSettings, database: string): string {
  return `postgres://postgres:${password}@127.0.0.1:${port}/${database}`
}

interface Running {
  readonly postmaster: Postmaster
  readonly settings: ConnectionSettings
  readonly version: string
  readonly dataDir: string
  readonly options: EmbeddedPostgresOptions
  readonly release: () => Promise<void>
}

function handOver({ postmaster, settings, version, dataDir, options, release }: Running): EmbeddedPostgres {
  let stopped: Promise<void> | undefined
  void postmaster.ended.then(() => {
    if (stopped !== undefined) return
    const logPath = join(dataDir, 'postgres.log')
    options.onUnexpectedEnd?.(
      `The embedded PostgreSQL ended though nobody stopped it; its last words are in ${logPath}.`,
    )
  })
  return {
    connectionString: toConnectionString(settings, databaseName),
    port: settings.port,
    version,
    stop() {
      stopped ??= postmaster.stop().then(release)
      return stopped
    },
  }
}
