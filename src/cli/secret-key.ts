import { randomBytes } from 'node:crypto'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from './usage-error.ts'

/**
 * The keys that seal secrets in the database, of which the first seals and all open: SLUICE_SECRET_KEY, else, beside an
 * embedded database, a file in the data folder that only its owner may read. Undefined beside any other database: its
 * processes must share them.
 */
export async function findSecretKeys(
  { dataDir, embedded }: { readonly dataDir: string; readonly embedded: boolean },
  variable: string | undefined,
): Promise<readonly Buffer[] | undefined> {
  if (variable !== undefined && variable !== '') return parseSecretKeys(variable, 'SLUICE_SECRET_KEY')
  return embedded ? keepSecretKey(join(dataDir, 'secret.key')) : undefined
}

async function keepSecretKey(path: string): Promise<readonly Buffer[]> {
  const kept = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (kept === undefined) {
    const key = randomBytes(32)
    // Fails where another process was first: nobody's key is overwritten.
    await writeFile(path, `${key.toString('base64')}\n`, { mode: 0o600, flag: 'wx' })
    return [key]
  }
  await chmod(path, 0o600)
  return parseSecretKeys(kept, path)
}

/** One key, or several with commas or line ends between them. */
export function parseSecretKeys(text: string, name: string): readonly Buffer[] {
  const keys = text
    .split(/[,\n]/)
    .map((one) => one.trim())
    .filter((one) => one !== '')
    .map((one) => Buffer.from(one, 'base64'))
  if (keys.length > 0 && keys.every(({ length }) => length === 32)) return keys
  // The value is a secret and is not repeated.
  throw new UsageError(`${name} must be 32 bytes in base64: make one with \`openssl rand -base64 32\`.`)
}
