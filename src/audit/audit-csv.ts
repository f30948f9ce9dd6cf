import type { AuditEntry } from '../contract/audit.ts'

const columns = [
  'seq',
  'position',
  'at',
  'type',
  'actor',
  'address',
  'via',
  'token_id',
  'trace_id',
  'reason',
  'task_id',
  'operation',
  'target',
  'event_id',
  'hash',
  'data',
] as const

/** RFC 4180: lines end with CR LF. */
export const auditCsvHeader = `${columns.join(',')}\r\n`

export function toAuditCsv(entry: AuditEntry): string {
  const { source, data, ...rest } = entry
  const row: Record<(typeof columns)[number], string | number | null> = {
    ...rest,
    address: source?.address ?? null,
    via: source?.via ?? null,
    token_id: source?.token_id ?? null,
    trace_id: source?.trace_id ?? null,
    data: JSON.stringify(data),
  }
  return `${columns.map((name) => toCell(row[name])).join(',')}\r\n`
}

/**
 * Names, reasons and inputs are what people chose. A spreadsheet takes a cell that begins with one of these for a
 * formula, and runs it: an apostrophe before it makes it text.
 */
const formula = /^(\s*[=+\-@＝＋－＠]|[\t\r\n])/

function toCell(value: string | number | null): string {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  const harmless = formula.test(value) ? `'${value}` : value
  return `"${harmless.replaceAll('"', '""')}"`
}
