import { pino } from 'pino'
import type { LogFields, Logger, LogLevel } from '../../logger.ts'
import { redact, redactText } from '../../redact.ts'

export interface PinoLoggerOptions {
  /** Lines below this level are not written. @default 'info' */
  readonly level?: LogLevel
  /** Where lines go, one JSON object each. @default standard output */
  readonly destination?: { write(line: string): void }
  /** Fields for every line that depend on the moment, such as the current trace id. */
  readonly context?: () => LogFields
}

/** JSON lines: `level`, `time` (milliseconds since 1970), `message`, fields. */
export function createPinoLogger(options: PinoLoggerOptions = {}): Logger {
  const settings = {
    level: options.level ?? 'info',
    base: null,
    messageKey: 'message',
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const log = options.destination ? pino(settings, options.destination) : pino(settings)
  return wrap(log, {}, options.context ?? (() => ({})))
}

function wrap(log: pino.Logger, bound: LogFields, context: () => LogFields): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (!log.isLevelEnabled(level)) return
    try {
      log[level](redact({ ...bound, ...context(), ...fields }), redactText(message))
    } catch (error) {
      // A getter or toJSON of the caller's field threw: the line must not be lost, nor break what it tells about.
      log[level]({ logFault: String(error) }, redactText(message))
    }
  }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => wrap(log, { ...bound, ...fields }, context),
  }
}
