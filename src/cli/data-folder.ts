import { mkdir, realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { CannotStartError } from './cannot-start-error.ts'

/**
 * Makes the data folder, for its owner alone, where it does not exist.
 * @returns its path without symbolic links
 */
export async function openDataFolder(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    return await realpath(path)
  } catch (error) {
    throw describeUnusable(resolve(path), error)
  }
}

export function describeUnusable(dataDir: string, error: unknown): CannotStartError {
  const reason = error instanceof Error ? error.message : String(error)
  return new CannotStartError(`The data folder ${dataDir} cannot be used (${reason}). Choose another with --data.`, {
    cause: error,
  })
}
