export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** `taskId` and `traceId` wherever there is one. An `error` field may be an `Error`; secrets are masked by name and shape. */
export type LogFields = Readonly<Record<string, unknown>>

/** Lines of a constant message plus fields. Synchronous: a call returns at once and never throws. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger
}
