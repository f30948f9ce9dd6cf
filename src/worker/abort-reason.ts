/** Why an attempt's signal fired. The reason of `context.signal` is one of these. */
export class AttemptAborted extends Error {
  readonly code = 'aborted'
  readonly why: 'deadline' | 'cancel' | 'shutdown' | 'lost'
  /** Who cancelled it. */
  readonly by: string | undefined
  constructor(why: AttemptAborted['why'], by?: string) {
    super(
      {
        deadline: 'The deadline of the task has passed.',
        cancel: 'The task was cancelled.',
        shutdown: 'The worker is shutting down.',
        lost: 'Another worker has taken this attempt over.',
      }[why],
    )
    this.why = why
    this.by = by
  }
}
