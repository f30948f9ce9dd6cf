import { createPrivateKey, X509Certificate } from 'node:crypto'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { ClusterConfigurationError } from './cluster-errors.ts'
import { isRefusedHost, type RefusedAddresses } from './local-address.ts'

/** Everything needed to speak to an API server, as plain data: no file, no program, no proxy. */
export interface StaticCredentials {
  readonly server: string
  /** PEM. Without it, the system's trust store decides. */
  readonly ca?: string
  readonly token?: string
  /** PEM, together with `key`. */
  readonly certificate?: string
  readonly key?: string
  /** Addresses that are not connected to, whatever the server's name resolves to. @default none */
  readonly refuse?: RefusedAddresses
}

const maxBytes = 256 * 1024
const name = z.string().min(1).max(253)
const base64 = z
  .string()
  .max(128 * 1024)
  .regex(/^[A-Za-z0-9+/\s]+={0,2}\s*$/, 'must be base64')
const clusterSchema = z.strictObject({
  server: z.string().max(2048),
  'certificate-authority-data': base64.optional(),
  'insecure-skip-tls-verify': z.literal(false, 'must not be set: TLS is always verified').optional(),
})
const userSchema = z.strictObject({
  token: z
    .string()
    .max(16 * 1024)
    .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII without spaces')
    .optional(),
  'client-certificate-data': base64.optional(),
  'client-key-data': base64.optional(),
})
const contextSchema = z.strictObject({ cluster: name, user: name, namespace: name.optional() })
const kubeconfigSchema = z.strictObject({
  apiVersion: z.literal('v1').optional(),
  kind: z.literal('Config').optional(),
  preferences: z.strictObject({}).optional(),
  clusters: z
    .array(z.strictObject({ name, cluster: clusterSchema }))
    .min(1)
    .max(20),
  users: z
    .array(z.strictObject({ name, user: userSchema }))
    .min(1)
    .max(20),
  contexts: z
    .array(z.strictObject({ name, context: contextSchema }))
    .min(1)
    .max(20),
  'current-context': name.optional(),
})
type Kubeconfig = z.output<typeof kubeconfigSchema>

/**
 * Reads a kubeconfig that came over the API, from somebody who must not make us run a program, read a file, trust
 * anybody or speak to ourselves. It may contain servers (https), CA data, tokens and certificate data; anything else
 * is refused, also in entries that the context does not use.
 *
 * @throws ClusterConfigurationError that names the field
 */
export function parseRestrictedKubeconfig(
  text: string,
  options: { readonly context?: string | undefined; readonly refuse?: RefusedAddresses } = {},
): StaticCredentials {
  const { refuse: refused = 'local' } = options
  const config = parseKubeconfig(text)
  const contextName = options.context ?? config['current-context']
  if (contextName === undefined) throw refuse('current-context is missing: say which context to use')
  const { context } = pick(config.contexts, 'context', contextName)
  const { cluster } = pick(config.clusters, 'cluster', context.cluster)
  const { user } = pick(config.users, 'user', context.user)
  for (const each of config.clusters) checkServer(each.cluster.server, refused)
  return {
    server: cluster.server.replace(/\/+$/, ''),
    refuse: refused,
    ...readCa(cluster),
    ...readUser(user),
  }
}

function parseKubeconfig(text: string): Kubeconfig {
  if (Buffer.byteLength(text) > maxBytes) throw refuse(`it is larger than ${maxBytes / 1024} KiB`)
  let value: unknown
  try {
    const document = parseDocument(text, { schema: 'core', strict: true, uniqueKeys: true, logLevel: 'error' })
    const [problem] = [...document.errors, ...document.warnings]
    if (problem) throw problem
    value = document.toJS({ maxAliasCount: 0 })
  } catch (error) {
    // The parser quotes the text, which holds secrets: only the place goes into the message.
    throw refuse(`it is not plain YAML${placeOf(error)}`)
  }
  const parsed = kubeconfigSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue?.path.join('.') ?? ''
  throw refuse(
    issue?.code === 'unrecognized_keys'
      ? `${[path, issue.keys[0]].filter(Boolean).join('.')} is not allowed (only server, certificate-authority-data, token, client-certificate-data and client-key-data are)`
      : `${path || 'the document'}: ${issue?.message ?? 'is malformed'}`,
  )
}

function placeOf(error: unknown): string {
  const line = (error as { linePos?: readonly { line: number }[] } | null)?.linePos?.[0]?.line // what `yaml` puts on its errors
  return line === undefined ? '' : ` (line ${line})`
}

function pick<Entry extends { readonly name: string }>(entries: readonly Entry[], kind: string, wanted: string): Entry {
  const found = entries.filter((entry) => entry.name === wanted)
  const [entry] = found
  if (!entry) throw refuse(`${kind} "${wanted}" does not exist in it`)
  if (found.length > 1) throw refuse(`${kind} "${wanted}" exists ${found.length} times`)
  return entry
}

function checkServer(server: string, refused: RefusedAddresses): void {
  const url = URL.canParse(server) && /^[\x21-\x7e]+$/.test(server) ? new URL(server) : undefined
  if (!url) throw refuse('server is not a URL')
  if (url.protocol !== 'https:') throw refuse('server must begin with https://')
  if (url.username || url.password) throw refuse('server must not contain a user name or password')
  if (url.search || url.hash || server.includes('?') || server.includes('#')) {
    throw refuse('server must not contain a query or fragment')
  }
  if (server.includes('\\') || /\/\.{1,2}(\/|$)/.test(server)) throw refuse('server must not contain \\, /./ or /../')
  if (isRefusedHost(url.hostname, refused)) {
    throw refuse(`server ${url.hostname} is an address of this machine or link-local`)
  }
}

function readCa(cluster: Kubeconfig['clusters'][number]['cluster']): { ca?: string } {
  const data = cluster['certificate-authority-data']
  if (data === undefined) return {}
  const ca = decode(data)
  const blocks = ca.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
  if (!blocks) throw refuse('certificate-authority-data holds no PEM certificate')
  for (const block of blocks) readCertificate(block, 'certificate-authority-data')
  return { ca }
}

function readUser(user: Kubeconfig['users'][number]['user']): Pick<StaticCredentials, 'token' | 'certificate' | 'key'> {
  const { token, 'client-certificate-data': certificateData, 'client-key-data': keyData } = user
  if ((certificateData === undefined) !== (keyData === undefined)) {
    throw refuse('client-certificate-data and client-key-data belong together')
  }
  if (certificateData === undefined || keyData === undefined) {
    if (token === undefined) throw refuse('the user has neither a token nor a client certificate')
    return { token }
  }
  if (token !== undefined) throw refuse('the user has both a token and a client certificate: give one')
  const certificate = decode(certificateData)
  const key = decode(keyData)
  checkPair(readCertificate(certificate, 'client-certificate-data'), key)
  return { certificate, key }
}

function readCertificate(pem: string, field: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw refuse(`${field} holds no readable certificate`)
  }
}

function checkPair(certificate: X509Certificate, keyPem: string): void {
  let matches: boolean
  try {
    matches = certificate.checkPrivateKey(createPrivateKey(keyPem))
  } catch {
    throw refuse('client-key-data holds no readable private key (one with a passphrase is not supported)')
  }
  if (!matches) throw refuse('client-key-data does not belong to client-certificate-data')
}

function decode(data: string): string {
  return Buffer.from(data, 'base64').toString('utf8')
}

function refuse(what: string): ClusterConfigurationError {
  return new ClusterConfigurationError(`The kubeconfig was refused: ${what}.`)
}
