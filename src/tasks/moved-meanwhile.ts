/** It is not where it was: look again. */
export class MovedMeanwhileError extends Error {
  readonly code = 'SL001'
}

// The database's word for the same, and for a deadlock with somebody who moved it.
const movedCodes = new Set(['SL001', '40P01'])

/** Whether a transaction was refused because what it looked at has changed: nothing was written, and a new look helps. */
export function hasMoved(error: unknown): boolean {
  return error instanceof Error && 'code' in error && movedCodes.has(String(error.code))
}
