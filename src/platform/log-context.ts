import { AsyncLocalStorage } from 'node:async_hooks'
import type { LogFields, Logger } from './logger.ts'

const current = new AsyncLocalStorage<LogFields>()

/** Puts these fields on every line that is logged while `work` runs, by whatever part of the process. */
export function withLogFields<T>(fields: LogFields, work: () => T): T {
  return current.run({ ...current.getStore(), ...fields }, work)
}

export function currentLogFields(): LogFields {
  return current.getStore() ?? {}
}

/** The logger with fields that depend on the moment; those of a line itself win. */
export function withContext(logger: Logger, context: () => LogFields): Logger {
  return {
    debug: (message, fields) => logger.debug(message, { ...context(), ...fields }),
    info: (message, fields) => logger.info(message, { ...context(), ...fields }),
    warn: (message, fields) => logger.warn(message, { ...context(), ...fields }),
    error: (message, fields) => logger.error(message, { ...context(), ...fields }),
    child: (fields) => withContext(logger.child(fields), context),
  }
}
