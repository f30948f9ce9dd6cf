import type { LogFields, Logger } from './logger.ts'

/** What a field may be called whose value is written as it is: none of them ever holds what somebody has entered. */
export const allowedLogFields: ReadonlySet<string> = new Set([
  'actor',
  'address',
  'apiVersion',
  'basePath',
  'by',
  'cluster',
  'code',
  'deliveryId',
  'detail',
  'digest',
  'error',
  'eventId',
  'eventType',
  'fieldSelector',
  'file',
  'flag',
  'jobId',
  'key',
  'kind',
  'labelSelector',
  'method',
  'name',
  'namespace',
  'object',
  'operation',
  'outcome',
  'part',
  'partition',
  'path',
  'prefix',
  'queue',
  'reason',
  'role',
  'route',
  'schedule',
  'subscription',
  'taskId',
  'tenant',
  'tokenId',
  'topic',
  'traceId',
  'type',
  'url',
  'version',
  'work',
])

/** Of an error: never the row, the parameters or the body that some libraries hang on it. */
const allowedErrorFields = [
  'code',
  'status',
  'statusCode',
  'errno',
  'syscall',
  'hostname',
  'port',
  'severity',
  'constraint',
] as const

/**
 * A logger that writes texts of fields on the list, and numbers and truth values of any: a name that nobody has thought
 * about is `[not on the list]` instead of a secret in a log. What stands in the texts themselves is masked behind it.
 */
export function allowLogFields(logger: Logger, allowed: ReadonlySet<string> = allowedLogFields): Logger {
  const write = (level: 'debug' | 'info' | 'warn' | 'error') => (message: string, fields?: LogFields) =>
    fields === undefined ? logger[level](message) : logger[level](message, filter(fields, allowed))
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => allowLogFields(logger.child(filter(fields, allowed)), allowed),
  }
}

function filter(fields: LogFields, allowed: ReadonlySet<string>): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      isHarmless(value) || allowed.has(name) ? bare(value) : notListed,
    ]),
  )
}

const notListed = '[not on the list]'

const isHarmless = (value: unknown): boolean =>
  value === undefined || value === null || ['number', 'boolean', 'bigint'].includes(typeof value)

function bare(value: unknown): unknown {
  if (value instanceof Error) return bareError(value)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  // What a field holds inside is not on any list.
  if (Array.isArray(value)) return value.every((item) => typeof item !== 'object') ? value : notListed
  return notListed
}

function bareError(error: Error, depth = 0): Record<string, unknown> {
  const fields = allowedErrorFields.flatMap((name): [string, string | number][] => {
    const value: unknown = Reflect.get(error, name)
    return typeof value === 'string' || typeof value === 'number' ? [[name, value]] : []
  })
  const { name, message, stack, cause } = error
  const errors = error instanceof AggregateError ? error.errors.filter((one): one is Error => one instanceof Error) : []
  return {
    type: name,
    message,
    ...(stack !== undefined && { stack }),
    ...Object.fromEntries<string | number>(fields),
    ...(cause instanceof Error && depth < 4 && { cause: bareError(cause, depth + 1) }),
    ...(errors.length > 0 && depth < 4 && { errors: errors.slice(0, 10).map((one) => bareError(one, depth + 1)) }),
  }
}
