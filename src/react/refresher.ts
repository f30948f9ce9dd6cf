/** Asks for fresh data when it was told that the old is out of date, however often it was told. */
export interface Refresher {
  /** Something changed. The first call after a quiet time refreshes at once. */
  request(): void
  /** Nothing is refreshed any more; idempotent. */
  stop(): void
}

export interface RefresherOptions {
  /** Resolves when the fresh data is there; never rejects. */
  readonly refresh: () => Promise<void>
  /** Milliseconds between the starts of two refreshes. */
  readonly intervalMs: number
}

/**
 * At most one refresh at a time and one per interval, and always one that began after the last change: ten thousand
 * events cost a request per interval, and none is left unseen.
 */
export function createRefresher({ refresh, intervalMs }: RefresherOptions): Refresher {
  let wanted = false
  let busy = false
  let stopped = false
  let timer: ReturnType<typeof setTimeout> | undefined

  const run = () => {
    if (stopped || busy || !wanted) return
    wanted = false
    busy = true
    const interval = new Promise<void>((resolve) => (timer = setTimeout(resolve, intervalMs)))
    void Promise.all([refresh(), interval]).then(() => {
      busy = false
      run()
    })
  }
  return {
    request: () => {
      wanted = true
      run()
    },
    stop: () => {
      stopped = true
      clearTimeout(timer)
    },
  }
}
