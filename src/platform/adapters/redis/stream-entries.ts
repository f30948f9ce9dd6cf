export interface StreamEntry {
  readonly id: string
  readonly fields: ReadonlyMap<string, string>
}

/** Reads entries as Redis answers them: `[[id, [name, value, …]], …]`. Anything else is no entry. */
export function streamEntries(reply: unknown): StreamEntry[] {
  return toList(reply).flatMap((entry): StreamEntry[] => {
    const [id, fields] = toList(entry)
    return typeof id === 'string' ? [{ id, fields: fieldMap(toList(fields)) }] : []
  })
}

/** A reply that is a list; an empty one for any other reply. */
export function toList(reply: unknown): readonly unknown[] {
  return Array.isArray(reply) ? reply : []
}

export function fieldMap(flat: readonly unknown[]): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(String(flat[i]), String(flat[i + 1]))
  return fields
}
