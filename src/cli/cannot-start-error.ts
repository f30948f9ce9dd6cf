/**
 * Sluice cannot start here, and the message tells the person at the terminal why and what to do about it:
 * one sentence or two, printed as it stands, without a stack.
 */
export class CannotStartError extends Error {
  readonly code = 'cannot_start'
  override readonly name = 'CannotStartError'
}
