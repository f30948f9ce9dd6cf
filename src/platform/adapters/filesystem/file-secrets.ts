import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, systemClock } from '../../clock.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import { isSecretName, requireSecretName } from '../../secret-name.ts'
import { SecretNotFoundError, type Secrets, type SecretWatch } from '../../secrets.ts'
import { watchByPolling } from '../poll-secret.ts'

export interface FileSecretsOptions {
  /** One file per secret, as Kubernetes and Docker mount them: `db/password` is the file `password` in the folder `db`. */
  readonly directory: string
  /** Milliseconds between looks at a watched file; mounted secrets change by moving links, which no file event tells. @default 1_000 */
  readonly pollMs?: number
  readonly clock?: Clock
}

/** Secrets in files. One trailing newline is no part of the secret. */
export function createFileSecrets(options: FileSecretsOptions): Secrets & Lifecycle {
  const { directory, pollMs = 1_000, clock = systemClock } = options
  const watches = new Set<SecretWatch>()

  const read = async (name: string): Promise<string | undefined> => {
    requireSecretName(name)
    try {
      return (await readFile(join(directory, name), 'utf8')).replace(/\r?\n$/, '')
    } catch (error) {
      if (isAbsent(error)) return undefined
      throw error
    }
  }

  return {
    capabilities: { liveWatch: true },
    get: async (name) => {
      const value = await read(name)
      if (value === undefined) throw new SecretNotFoundError(name, directory)
      return value
    },
    list: async (prefix = '') => (await listNames(directory)).filter((name) => name.startsWith(prefix)).sort(),
    watch: async (name, listener) => {
      const watch = await watchByPolling({ name, listener, pollMs, clock, read: () => read(name) })
      watches.add(watch)
      return watch
    },
    start: async () => {},
    stop: async () => {
      await Promise.all([...watches].map((watch) => watch.stop()))
    },
  }
}

async function listNames(directory: string): Promise<string[]> {
  const names: string[] = []
  for (const { path, isFolder } of await entries(directory, '')) {
    if (!isFolder) names.push(path)
    else for (const inner of await entries(directory, path)) if (!inner.isFolder) names.push(inner.path)
  }
  return names.filter(isSecretName)
}

async function entries(directory: string, folder: string): Promise<{ path: string; isFolder: boolean }[]> {
  const found = await readdir(join(directory, folder), { withFileTypes: true })
  return Promise.all(
    found
      // Kubernetes keeps the real files in hidden folders beside links to them.
      .filter((entry) => !entry.name.startsWith('.'))
      .map(async (entry) => {
        const path = folder === '' ? entry.name : `${folder}/${entry.name}`
        return {
          path,
          isFolder: entry.isDirectory() || (entry.isSymbolicLink() && (await isFolderLink(join(directory, path)))),
        }
      }),
  )
}

async function isFolderLink(path: string): Promise<boolean> {
  return readdir(path).then(
    () => true,
    () => false,
  )
}

function isAbsent(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOENT' || error.code === 'EISDIR' || error.code === 'ENOTDIR')
  )
}
