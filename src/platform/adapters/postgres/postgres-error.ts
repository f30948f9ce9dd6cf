import { StatementTimeoutError } from '../../db.ts'
import { ServiceUnavailableError } from '../../platform-error.ts'

const networkCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
])
// Connection exceptions, "too many connections", shutdowns and start-up.
const sqlStates = /^(08...|53300|57P0[1-5])$/
// The driver gives these no code.
const messages =
  /^(Connection terminated|Query read timeout|timeout exceeded|timeout expired|Client has encountered a connection error)/

/** Turns "not reachable" and "took too long" into errors to act on; a SQL error stays as it is, with its SQLSTATE. */
export function fromPostgresError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (code === '57014' && error.message.includes('statement timeout')) {
    return new StatementTimeoutError('A statement took longer than its limit and was ended', { cause: error })
  }
  if (networkCodes.has(code) || sqlStates.test(code) || messages.test(error.message)) {
    return new ServiceUnavailableError('database', `The database cannot be reached or hung up (${error.message})`, {
      cause: error,
    })
  }
  return error
}
