import { type LogFields, type Logger, type LogLevel, logLevels } from '../logger.ts'
import { redact, redactText } from '../redact.ts'

export interface LogLine {
  readonly level: LogLevel
  readonly message: string
  readonly fields: LogFields
}

export interface MemoryLogger extends Logger {
  /** Every line so far, of children too, as it would have been written. */
  readonly lines: readonly LogLine[]
}

export interface MemoryLoggerOptions {
  /** @default 'debug' */
  readonly level?: LogLevel
  readonly context?: () => LogFields
}

/** Keeps lines instead of writing them; masks secrets as the real one does. */
export function createMemoryLogger(options: MemoryLoggerOptions = {}): MemoryLogger {
  const lines: LogLine[] = []
  const lowest = logLevels.indexOf(options.level ?? 'debug')
  const bind = (bound: LogFields): Logger => {
    const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
      if (logLevels.indexOf(level) < lowest) return
      lines.push({
        level,
        message: redactText(message),
        fields: written({ ...bound, ...options.context?.(), ...fields }),
      })
    }
    return {
      debug: at('debug'),
      info: at('info'),
      warn: at('warn'),
      error: at('error'),
      child: (fields) => bind({ ...bound, ...fields }),
    }
  }
  return { ...bind({}), lines }
}

function written(fields: LogFields): LogFields {
  try {
    return redact(fields)
  } catch (error) {
    return { logFault: String(error) }
  }
}
