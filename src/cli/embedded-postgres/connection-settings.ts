import { randomBytes, randomInt } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { CannotStartError } from '../cannot-start-error.ts'

/** How this data folder's PostgreSQL is reached. Kept in the folder, readable by its owner alone. */
export interface ConnectionSettings {
  readonly port: number
  readonly password: string
}

const fileName = 'embedded-postgres.json'

export async function readConnectionSettings(dataDir: string): Promise<ConnectionSettings | undefined> {
  const path = join(dataDir, fileName)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && 'port' in value && 'password' in value) {
      const { port, password } = value
      if (typeof port === 'number' && typeof password === 'string') return { port, password }
    }
  } catch {
    // Falls through to the same sentence as a file without the fields.
  }
  throw new CannotStartError(
    `${path} is damaged, and it holds the password of the database beside it. Restore it from a copy, ` +
      `or move the data folder ${dataDir} away to begin anew.`,
  )
}

export async function writeConnectionSettings(dataDir: string, settings: ConnectionSettings): Promise<void> {
  const path = join(dataDir, fileName)
  await writeFile(`${path}.new`, `${JSON.stringify(settings)}\n`, { mode: 0o600 })
  await rename(`${path}.new`, path)
}

/** @param wanted the port to keep where it is still free */
export async function chooseConnectionSettings(wanted: ConnectionSettings | undefined): Promise<ConnectionSettings> {
  if (wanted !== undefined && (await isFree(wanted.port))) return wanted
  return { port: await chooseFreePort(), password: wanted?.password ?? randomBytes(32).toString('base64url') }
}

/** Below the range from which systems take the ports of outgoing connections, so that none of those is in the way later. */
async function chooseFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(20_000, 32_000)
    if (await isFree(port)) return port
  }
  throw new CannotStartError('No free port between 20000 and 32000 was found on 127.0.0.1 for the embedded PostgreSQL.')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)))
  })
}
