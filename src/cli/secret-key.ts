import { randomBytes } from 'node:crypto'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from './usage-error.ts'

/**
 * The key that seals secrets in the database: SLUICE_SECRET_KEY, else, beside an embedded database, a file in the data
 * folder that only its owner may read. Undefined beside any other database: its processes must share one.
 */
export async function findSecretKey(
  { dataDir, embedded }: { readonly dataDir: string; readonly embedded: boolean },
  variable: string | undefined,
): Promise<Buffer | undefined> {
  if (variable !== undefined && variable !== '') return parseKey(variable, 'SLUICE_SECRET_KEY')
  return embedded ? keepSecretKey(join(dataDir, 'secret.key')) : undefined
}

async function keepSecretKey(path: string): Promise<Buffer> {
  const kept = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (kept === undefined) {
    const key = randomBytes(32)
    // Fails where another process was first: nobody's key is overwritten.
    await writeFile(path, `${key.toString('base64')}\n`, { mode: 0o600, flag: 'wx' })
    return key
  }
  await chmod(path, 0o600)
  return parseKey(kept, path)
}

function parseKey(text: string, name: string): Buffer {
  const key = Buffer.from(text.trim(), 'base64')
  if (key.length === 32) return key
  // The value is a secret and is not repeated.
  throw new UsageError(`${name} must be 32 bytes in base64: make one with \`openssl rand -base64 32\`.`)
}
