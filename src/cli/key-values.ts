import { UsageError } from './usage-error.ts'

export type JsonObject = { [key: string]: unknown }

/**
 * `['name=acme', 'spec.cpu=2', 'tags:=["a"]']` → `{ name: 'acme', spec: { cpu: 2 }, tags: ['a'] }`, over `base`.
 * Numbers, true and false are taken as JSON, everything else as text; `:=` takes any JSON (`name:='"2024"'` is text).
 * A dot descends; `\.` is a dot in a name.
 */
export function parseInput(pairs: readonly string[], base: JsonObject = {}): JsonObject {
  const input = structuredClone(base)
  const given = new Set<string>()
  for (const pair of pairs) {
    const { key, value } = splitPair(pair)
    if (given.has(key)) throw new UsageError(`\`${key}\` is given twice.`)
    given.add(key)
    assign(input, { key, value, given })
  }
  return input
}

/** `['team=core']` → `{ team: 'core' }`; values stay text. */
export function parseLabels(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) throw new UsageError(`\`${pair}\` is not a label. Write --label key=value`)
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )
}

function splitPair(pair: string): { key: string; value: unknown } {
  const at = pair.indexOf('=')
  if (at < 1 || pair.startsWith(':=')) throw new UsageError(`\`${pair}\` is not an input. Write --input key=value`)
  const text = pair.slice(at + 1)
  if (pair[at - 1] !== ':') return { key: pair.slice(0, at), value: typed(text) }
  try {
    return { key: pair.slice(0, at - 1), value: JSON.parse(text) }
  } catch {
    throw new UsageError(`\`${text}\` (of \`${pair}\`) is not JSON. Write text as key=text, or key:='"text"'`)
  }
}

function typed(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return text
  const number = Number(text)
  // A number that a double cannot hold (an id of 20 digits) would arrive as another one: it stays text.
  return Number.isFinite(number) && (!Number.isInteger(number) || Number.isSafeInteger(number)) ? number : text
}

function assign(root: JsonObject, { key, value, given }: { key: string; value: unknown; given: Set<string> }): void {
  const names = key.split(/(?<!\\)\./).map((name) => name.replaceAll('\\.', '.'))
  if (names.some((name) => name === '' || name === '__proto__')) throw new UsageError(`\`${key}\` is not a field name.`)
  let parent = root
  for (const [depth, name] of names.slice(0, -1).entries()) {
    const path = names.slice(0, depth + 1).join('.')
    const child = Object.hasOwn(parent, name) ? parent[name] : undefined
    if (given.has(path)) throw new UsageError(`\`${path}\` is given as a value and as \`${key}\`.`)
    if (child === undefined) parent = parent[name] = {}
    else if (isObject(child)) parent = child
    else throw new UsageError(`\`${path}\` is no object, so that \`${key}\` cannot be set.`)
  }
  const last = names.at(-1) ?? key
  const inside = [...given].some((other) => other.startsWith(`${key}.`))
  if (inside) throw new UsageError(`\`${key}\` is given as a value and field by field.`)
  parent[last] = value
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
