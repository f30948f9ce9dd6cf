import type { Task } from '../contract/task.ts'

/**
 * Milliseconds as people say them: 850 ms, 12.3 s, 4 min 05 s, 3 h 20 min, 5 d 2 h. With `whole`, no part of a second,
 * for a figure that is redrawn every second.
 */
export function duration(ms: number, { whole = false }: { readonly whole?: boolean } = {}): string {
  if (ms < 1000 && !whole) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 59_950) return whole ? `${Math.max(0, Math.floor(ms / 1000))} s` : `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.floor(ms / 1000 + 0.05)
  const days = Math.floor(seconds / 86_400)
  const hours = Math.floor(seconds / 3600) % 24
  const minutes = Math.floor(seconds / 60) % 60
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`
}

/** Milliseconds from acceptance to the end, or until `now`; never negative, whatever the local clock says. */
export function ageOf(task: Task, now: number = Date.now()): number {
  const end = task.completed_at === null ? now : Date.parse(task.completed_at)
  return Math.max(0, end - Date.parse(task.created_at))
}

/** `default:group/Kind/namespace/name` → `name`, or `namespace/name`; '' for no target. */
export function shortTarget(target: string | null): string {
  if (target === null) return ''
  const [, , namespace = '', name = ''] = target.slice(target.indexOf(':') + 1).split('/')
  return namespace === '' ? name : `${namespace}/${name}`
}

/** `2/5 applying`: how far the operation says it is; '' when it does not, or has ended. */
export function progressText(task: Task): string {
  if (task.progress === null || task.done) return ''
  const { done, total, message } = task.progress
  const count = done === null ? '' : total === null ? String(done) : `${done}/${total}`
  return [count, message ?? ''].filter((text) => text !== '').join(' ')
}

/** Times inside a sentence of the server's (RFC 3339, UTC) in the reader's own time. */
export function localTimes(sentence: string): string {
  return sentence.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (at) => localTime(new Date(at)))
}

/** To the second today; on other days the day says more than the seconds. */
export function localTime(date: Date, now: Date = new Date()): string {
  if (date.toDateString() === now.toDateString()) return date.toLocaleTimeString()
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' as const }
  return date.toLocaleString(undefined, { ...year, month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' })
}
