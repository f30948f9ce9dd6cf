import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { KubernetesObject } from '../kubernetes/cluster.ts'
import type { Logger } from '../platform/logger.ts'
import { isStale } from './run-task.ts'
import { noteReasons } from './wait-reasons.sql.ts'
import type { OpenWait } from './waits.sql.ts'

export interface WaitReasonsOptions {
  readonly database: Database
  readonly signals: SignalSender
  readonly logger: Logger
  readonly workerId: string
  /** Explains why the object is not ready (its Pods, its warning events). Rejects where nothing can be read. */
  diagnose(wait: OpenWait, object: KubernetesObject, signal: AbortSignal): Promise<string | undefined>
  /** Milliseconds that a wait may take without a word, and between two. @default 15_000 */
  readonly explainAfterMs?: number
}

/** Tells why a wait takes long: in the task, for whoever asks why it waits, and for its end when the cluster is away. */
export interface WaitReasons {
  /** What a wait waits for at the moment. */
  pending(wait: OpenWait, reason: string, message: string | undefined): void
  forget(eventId: string): void
  /** Tells what is due. Called again and again. */
  tell(): Promise<void>
}

interface Pending {
  readonly wait: OpenWait
  reason: string
  /** By this process's monotonic clock. */
  dueAt: number
  told: string | undefined
  why: string | undefined
}

// Thousands of waits take long at one moment: each reads a little, and none of it is in a hurry.
const mostAtOnce = 50
const explainMs = 5_000

export function createWaitReasons(options: WaitReasonsOptions): WaitReasons {
  const afterMs = options.explainAfterMs ?? 15_000
  const waiting = new Map<string, Pending>()

  const describe = async (pending: Pending): Promise<string> => {
    const { wait, reason } = pending
    const { apiVersion, kind, name, namespace, uid } = wait
    if (uid === null || wait.rules.absent === true) return reason
    // As much of it as a look at what belongs to it needs.
    const metadata = { name, uid, resourceVersion: '', ...(namespace !== null && { namespace }) }
    const signal = AbortSignal.timeout(explainMs)
    // While nothing can be read, what was seen last still stands.
    pending.why = await options.diagnose(wait, { apiVersion, kind, metadata }, signal).catch(() => pending.why)
    return pending.why === undefined ? reason : `${reason} ${pending.why}`
  }

  return {
    pending: (wait, reason, message) => {
      const text = message === undefined || message === '' ? reason : `${reason}: ${endSentence(message)}`
      const known = waiting.get(wait.eventId)
      if (known) known.reason = text
      else {
        const dueAt = performance.now() + afterMs
        waiting.set(wait.eventId, { wait, reason: text, dueAt, told: undefined, why: undefined })
      }
    },
    forget: (eventId) => waiting.delete(eventId),
    tell: async () => {
      const now = performance.now()
      const due = [...waiting.values()].filter(({ dueAt }) => dueAt <= now).slice(0, mostAtOnce)
      if (due.length === 0) return
      for (const one of due) one.dueAt = now + afterMs
      const texts = await Promise.all(due.map(async (one) => ({ one, text: await describe(one) })))
      const news = texts.filter(({ one, text }) => text !== one.told)
      if (news.length === 0) return
      const reasons = news.map(({ one: { wait }, text }) => ({
        task_id: wait.taskId,
        attempt: wait.attempt,
        reason: text,
      }))
      try {
        const written = await options.database.transaction({ role: 'sluice_worker' }, (tx) =>
          noteReasons(tx, reasons, options.workerId),
        )
        for (const { one, text } of news) one.told = text
        if (written > 0) options.signals.send('events')
      } catch (error) {
        // One of them has ended at this moment: the others are told the next time.
        if (!isStale(error)) throw error
        for (const { one } of news) one.dueAt = now
        options.logger.debug('a wait ended while its reason was told; telling the others again', { error })
      }
    },
  }
}

const endSentence = (text: string): string => (/[.!?…]$/.test(text) ? text : `${text}.`)
