export interface StreamEntry {
  readonly id: string
  readonly fields: ReadonlyMap<string, string>
}

/** Reads entries as Redis answers them: `[[id, [name, value, …]], …]`. Anything else is no entry. */
export function streamEntries(reply: unknown): StreamEntry[] {
  if (!Array.isArray(reply)) return []
  return reply.flatMap((entry: unknown): StreamEntry[] => {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || !Array.isArray(entry[1])) return []
    return [{ id: entry[0], fields: fieldMap(entry[1]) }]
  })
}

export function fieldMap(flat: readonly unknown[]): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(String(flat[i]), String(flat[i + 1]))
  return fields
}
