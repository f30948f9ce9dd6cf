import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Queue } from '../queue/queue.ts'
import { anyHeld, releaseHolds } from './holds.sql.ts'

export interface WakeHeldOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
}

/** Brings jobs forward whose reason to be held is gone. Returns whether any job is held at all. */
export async function wakeHeld({ database, queue, signals }: WakeHeldOptions): Promise<boolean> {
  const woken = await database.transaction({ role: 'sluice_worker' }, async (tx) => {
    if (!(await anyHeld(tx))) return undefined
    // Several workers may look at once: what the second one wakes in vain is held again, unburned.
    const released = await releaseHolds(tx, 100)
    const of = (kind: 'short' | 'long') => released.filter((hold) => hold.class === kind).map(({ taskId }) => taskId)
    await queue.bringForward(tx, 'sluice-short', of('short'))
    await queue.bringForward(tx, 'sluice-long', of('long'))
    return released
  })
  for (const kind of new Set(woken?.map((hold) => hold.class))) signals.send(kind)
  return woken !== undefined
}
