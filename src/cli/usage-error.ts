/** The command line, or a variable that stands for a part of it, is wrong. The message is one sentence; exit code 2. */
export class UsageError extends Error {
  readonly code = 'usage'
  override readonly name = 'UsageError'
}
