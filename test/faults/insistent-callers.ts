import { setTimeout as delay } from 'node:timers/promises'
import { accepted, type Answer, type Api } from '../journeys/support/api.ts'

/** Callers that ask for one project after the other, each again and again until somebody says 202. */
export interface InsistentCallers {
  /** Every answer so far. */
  readonly answers: readonly Answer[]
  /** Task of each project whose request was acknowledged. */
  readonly taskIds: ReadonlyMap<string, string>
  count(status: number): number
  /** Resolves when every caller has the 202 that it was waiting for. Fails when one got two tasks for one key. */
  stop(): Promise<void>
}

/** Milliseconds between two requests of one caller. */
const paceMs = 25

export function startInsistentCallers(api: Api, callers: number, prefix: string): InsistentCallers {
  const answers: Answer[] = []
  const taskIds = new Map<string, string>()
  let stopped = false

  const insist = async (name: string): Promise<void> => {
    const request = { body: { name, organization: 'acme' }, headers: { 'idempotency-key': name } }
    for (;;) {
      const answer = await api.send('POST', '/projects', request)
      answers.push(answer)
      if (answer.status === 202) {
        taskIds.set(name, accepted(answer).task_id)
        return
      }
      await delay(paceMs)
    }
  }
  const call = async (caller: number): Promise<void> => {
    for (let n = 0; !stopped; n++) {
      await insist(`${prefix}-${caller}-${n}`)
      await delay(paceMs)
    }
  }
  const calling = Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)))
  calling.catch(() => undefined)
  return {
    answers,
    taskIds,
    count: (status) => answers.filter((answer) => answer.status === status).length,
    stop: async () => {
      stopped = true
      await calling
    },
  }
}
