import type { Counter, Histogram, Meter } from '@opentelemetry/api'

/** One thing that ended, and how. `seconds`: how long it took. */
interface Ended {
  readonly operation: string
  readonly outcome: string
  readonly seconds: number
}

/** What is counted and timed. Says nothing of tenants: whoever reads metrics sees all of them. */
export interface Instruments {
  /** A request for a change, from its arrival to the commit. */
  accepted(request: Ended): void
  /** One run of `perform`. */
  attempted(attempt: Ended): void
  /** A wait, from its parking to its end. */
  waited(wait: Ended): void
  /** A task, from its acceptance to its end; `outcome` is its last event. */
  finished(task: Ended): void
  answered(request: {
    readonly method: string
    readonly route: string
    readonly status: number
    readonly seconds: number
  }): void
  /** One try to deliver a message. */
  delivered(delivery: { readonly style: string; readonly outcome: string }): void
  /** How old an event was when the live feed handed it out. */
  fed(event: { readonly seconds: number }): void
}

const nothing = () => undefined

/** Where nobody reads metrics. */
export const noInstruments: Instruments = {
  accepted: nothing,
  attempted: nothing,
  waited: nothing,
  finished: nothing,
  answered: nothing,
  delivered: nothing,
  fed: nothing,
}

const fast = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const slow = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400]

export function createInstruments(meter: Meter): Instruments {
  const seconds = (name: string, description: string, explicitBucketBoundaries: number[]): Histogram =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries } })
  const count = (name: string, description: string): Counter => meter.createCounter(name, { description })

  const requests = count('sluice.accept.requests', 'Requests for a change, by what became of them')
  const acceptance = seconds('sluice.accept.duration', 'From the arrival of a request to its commit', fast)
  const attempts = count('sluice.attempts', 'Runs of an operation, by outcome')
  const attempt = seconds('sluice.attempt.duration', 'One run of an operation', slow)
  const wait = seconds('sluice.wait.duration', 'From parking a task to the end of its wait', slow)
  const task = seconds('sluice.task.duration', 'From acceptance to the end of a task', slow)
  const http = seconds('http.server.request.duration', 'HTTP requests, without live streams', fast)
  const deliveries = count('sluice.deliveries', 'Tries to deliver a message, by outcome')
  const feed = seconds('sluice.feed.lag', 'Age of an event when the live feed hands it out', fast)
  return {
    accepted: ({ operation, outcome, seconds: took }) => {
      requests.add(1, { operation, outcome })
      acceptance.record(took, { operation })
    },
    attempted: ({ operation, outcome, seconds: took }) => {
      attempts.add(1, { operation, outcome })
      attempt.record(took, { operation, outcome })
    },
    waited: ({ operation, outcome, seconds: took }) => wait.record(took, { operation, outcome }),
    finished: ({ operation, outcome, seconds: took }) => task.record(took, { operation, outcome }),
    answered: ({ method, route, status, seconds: took }) =>
      http.record(took, {
        'http.request.method': method,
        'http.route': route,
        'http.response.status_code': status,
      }),
    delivered: ({ style, outcome }) => deliveries.add(1, { style, outcome }),
    fed: ({ seconds: age }) => feed.record(Math.max(0, age)),
  }
}
