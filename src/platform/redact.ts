/** What stands where a secret was. */
const redacted = '[redacted]'

/** Field names whose values are never logged, compared without case, `-` and `_`, anywhere in the name. */
const secretFieldNames = [
  'password',
  'passwd',
  'secret',
  'token',
  'authorization',
  'cookie',
  'apikey',
  'privatekey',
  'credential',
  'kubeconfig',
  'clientkeydata',
] as const

// Names that hold one of the words above and are no secret.
const harmlessNames = new Set(['nextpagetoken', 'pagetoken', 'tokenid', 'secretname', 'continuetoken', 'tokens'])

const bearer = /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi
const urlPassword = /\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/@]+@/gi
const jwt = /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/g
const pem = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g
const maxDepth = 8

/**
 * A copy of log fields without secrets: values under telling names are masked whole, and credentials inside any text
 * (bearer tokens, passwords in URLs, JSON Web Tokens, private keys) are masked in place. Errors become plain data.
 */
export function redact(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return redactObject(fields, [])
}

export function redactText(text: string): string {
  return text
    .replaceAll(pem, redacted)
    .replaceAll(jwt, redacted)
    .replaceAll(bearer, `$1 ${redacted}`)
    .replaceAll(urlPassword, `$1:${redacted}@`)
}

function redactValue(value: unknown, path: readonly object[]): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'function' || typeof value === 'symbol') return undefined
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  if (path.includes(value)) return '[circular]'
  if (path.length >= maxDepth) return '[too deep]'
  const inside = [...path, value]
  if (value instanceof Error) return redactError(value, inside)
  if (Array.isArray(value)) return value.map((item) => redactValue(item, inside))
  if (value instanceof Map) return redactMap(value, inside)
  if (value instanceof Set) return [...value].map((item) => redactValue(item, inside))
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (value instanceof URL) return redactText(value.href)
  if (hasToJson(value)) return redactValue(value.toJSON(), inside)
  return redactObject(value, inside)
}

function redactObject(value: object, path: readonly object[]): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    copy[name] = isSecretName(name) && field !== undefined && field !== null ? redacted : redactValue(field, path)
  }
  return copy
}

function redactMap(map: ReadonlyMap<unknown, unknown>, path: readonly object[]): Record<string, unknown> {
  return redactObject(Object.fromEntries([...map].map(([name, field]) => [String(name), field])), path)
}

function hasToJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function'
}

function redactError(error: Error, path: readonly object[]): Record<string, unknown> {
  const { name, message, stack, cause } = error
  return {
    type: name,
    message: redactText(message),
    ...(stack === undefined ? {} : { stack: redactText(stack) }),
    ...redactObject(error, path),
    ...(cause === undefined ? {} : { cause: redactValue(cause, path) }),
  }
}

function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replaceAll(/[-_]/g, '')
  return !harmlessNames.has(plain) && secretFieldNames.some((word) => plain.includes(word))
}
