import { randomBytes } from 'node:crypto'
import { chmod, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Bearer tokens of the three development principals. */
export interface DevelopmentTokens {
  readonly requester: string
  readonly approver: string
  readonly admin: string
}

export function developmentTokensPath(dataDir: string): string {
  return join(dataDir, 'dev-tokens.json')
}

/** 256 random bits each, kept over restarts in `<data>/dev-tokens.json`, which only its owner may read. */
export async function keepDevelopmentTokens(dataDir: string): Promise<DevelopmentTokens> {
  const path = developmentTokensPath(dataDir)
  const kept = await readDevelopmentTokens(dataDir)
  if (kept !== undefined) {
    await chmod(path, 0o600)
    return kept
  }
  const tokens = { requester: randomToken(), approver: randomToken(), admin: randomToken() }
  await writeFile(`${path}.new`, `${JSON.stringify(tokens, undefined, 2)}\n`, { mode: 0o600 })
  await rename(`${path}.new`, path)
  return tokens
}

/** Undefined where the file is missing or damaged: nothing else remembers the tokens, so new ones do no harm. */
export async function readDevelopmentTokens(dataDir: string): Promise<DevelopmentTokens | undefined> {
  const text = await readFile(developmentTokensPath(dataDir), 'utf8').catch(() => '')
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    if (!('requester' in value) || !('approver' in value) || !('admin' in value)) return undefined
    const { requester, approver, admin } = value
    if (!isToken(requester) || !isToken(approver) || !isToken(admin)) return undefined
    return { requester, approver, admin }
  } catch {
    return undefined
  }
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && value.length >= 32
}

function randomToken(): string {
  return randomBytes(32).toString('base64url')
}
