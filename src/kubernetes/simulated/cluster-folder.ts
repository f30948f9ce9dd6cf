import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeCertificate, type Certificate } from './certificate.ts'
import { isObject, type JsonObject } from './json.ts'

/** What a cluster keeps beside its objects: where it listens, its administrator's token and its certificate. */
export interface ClusterIdentity {
  readonly port: number | undefined
  readonly token: string
  readonly certificate: Certificate
  /** The names and addresses that the certificate is for. */
  readonly hosts: readonly string[]
}

const fileName = 'cluster.json'

/** What the folder holds, or a new identity. The certificate is made anew when it is not for `host`. */
export function readIdentity(folder: string | undefined, host: string, now: number): ClusterIdentity {
  const kept = folder === undefined ? undefined : readFile(join(folder, fileName))
  const hosts = [...new Set([host, '127.0.0.1', '::1', 'localhost'])]
  if (kept === undefined) {
    return { port: undefined, token: newToken(), certificate: makeCertificate(hosts, now), hosts }
  }
  const certificate = kept.hosts.includes(host) ? kept : { certificate: makeCertificate(hosts, now), hosts }
  return { ...kept, ...certificate, port: kept.port, token: kept.token }
}

export function writeIdentity(folder: string, identity: ClusterIdentity): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, fileName)
  writeFileSync(`${file}.new`, `${JSON.stringify(identity)}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

function readFile(file: string): ClusterIdentity | undefined {
  if (!existsSync(file)) return undefined
  let kept: unknown
  try {
    kept = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new Error(`The simulated cluster's ${file} cannot be read. Remove it to get a new port and token.`, { cause })
  }
  const identity = isObject(kept) ? parseIdentity(kept) : undefined
  if (identity !== undefined) return identity
  throw new Error(`The simulated cluster's ${file} is incomplete. Remove it to get a new port and token.`)
}

function parseIdentity({ port, token, certificate, hosts }: JsonObject): ClusterIdentity | undefined {
  if (typeof token !== 'string' || !isObject(certificate) || !Array.isArray(hosts)) return undefined
  const { certificate: text, key } = certificate
  if (typeof text !== 'string' || typeof key !== 'string') return undefined
  return {
    port: typeof port === 'number' ? port : undefined,
    token,
    certificate: { certificate: text, key },
    hosts: hosts.map(String),
  }
}

function newToken(): string {
  return `simulated-${randomBytes(24).toString('base64url')}`
}
