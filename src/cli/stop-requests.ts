/** Ctrl-C reaches a process started by npm twice, from the terminal and from npm. */
const samePressMs = 1_000

export interface StopRequests {
  /** Aborts at the first request. The reason is a text that says who asked, or an error that nobody caught. */
  readonly signal: AbortSignal
  /** Gives the signals back to Node. */
  dispose(): void
}

/**
 * Collects every way in which a person or the system asks this process to stop. The first request is for an orderly stop; a
 * second one ends the process at once.
 * @param onSecond ends the process; gets the exit code that tells the signal
 */
export function collectStopRequests(onSecond: (exitCode: number) => void): StopRequests {
  const controller = new AbortController()
  let firstAt: number | undefined
  const request = (who: string, exitCode: number) => {
    const now = performance.now()
    if (firstAt === undefined) {
      firstAt = now
      controller.abort(who)
    } else if (now - firstAt > samePressMs) {
      onSecond(exitCode)
    }
  }
  const listeners = {
    SIGINT: () => request('Ctrl-C', 130),
    SIGTERM: () => request('SIGTERM', 143),
    SIGHUP: () => request('the closed terminal', 129),
    // The launcher that started this process under the right Node is gone.
    disconnect: () => request('the end of the launcher', 143),
    // One more while the first is being dealt with is not waited for: it must not keep the process from ending.
    uncaughtException: (error: Error) => controller.abort(error),
    unhandledRejection: (reason: unknown) => {
      controller.abort(reason instanceof Error ? reason : new Error(`A promise was rejected with ${String(reason)}`))
    },
  } as const
  for (const [event, listener] of Object.entries(listeners)) process.on(event, listener)
  return {
    signal: controller.signal,
    dispose() {
      for (const [event, listener] of Object.entries(listeners)) process.off(event, listener)
    },
  }
}
