// Connection refused, reset or timed out · the server's own "not now": 57P0x, 53300, 08xxx · what it broke off because
// something took too long: a statement (57014), a lock (55P03), a transaction that did nothing (25P03).
const awayCodes =
  /^(ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT|EPIPE|ENOENT|57P0[123]|53300|08\w{3}|57014|55P03|25P03)$/
const lostCodes = /^(ECONNRESET|EPIPE|57P0[12])$/
const awayMessages = /Connection terminated|Client has encountered a connection error/
const silentMessages = /timeout exceeded when trying to connect|due to connection timeout|Query read timeout/

/** The database cannot be reached, or did not answer in time. Whether a commit under way has happened is unknown. */
export function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if ('code' in error && awayCodes.test(String(error.code))) return true
  return awayMessages.test(error.message) || isDatabaseSilent(error)
}

/** Nothing came back at all: whoever asks next will wait as long for as little. */
export function isDatabaseSilent(error: unknown): boolean {
  return error instanceof Error && silentMessages.test(error.message)
}

/** This connection is dead, and the next need not be. */
export function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && lostCodes.test(String(error.code))) || awayMessages.test(error.message)
}
