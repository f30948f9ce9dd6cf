import { equalJson, isObject, type Json } from './json.ts'

type Step =
  | { readonly kind: 'member'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'every' }
  | { readonly kind: 'filter'; readonly path: readonly Step[]; readonly operator: string; readonly value: Json }

const parsed = new Map<string, readonly Step[]>()

/** A path that is not understood. */
export class JsonPathError extends Error {
  readonly code = 'json_path'

  constructor(path: string) {
    super(`JSON path ${JSON.stringify(path)} is not supported: use members, [0], [*] and [?(@.key=="value")]`)
    this.name = 'JsonPathError'
  }
}

/** What the path finds, as printer columns and selectable fields use it. */
export function findPath(value: Json, path: string): readonly Json[] {
  let steps = parsed.get(path)
  if (steps === undefined) {
    steps = parsePath(path)
    parsed.set(path, steps)
  }
  return follow(value, steps)
}

export function childPathValue(value: Json, path: string): Json | undefined {
  return findPath(value, path)[0]
}

export function parsePath(path: string): readonly Step[] {
  const steps: Step[] = []
  const token =
    /\.([A-Za-z0-9_$-]+(?:\\\.[A-Za-z0-9_/$-]+)*)|\.?\[(\d+|\*)\]|\['([^']+)'\]|\[\?\(@((?:\.[A-Za-z0-9_-]+)+)\s*(==|!=)\s*("[^"]*"|'[^']*'|[\w.]+)\)\]/y
  const text = path.startsWith('.') || path.startsWith('[') ? path : `.${path}`
  if (text === '.') return steps
  while (token.lastIndex < text.length) {
    const match = token.exec(text)
    if (match === null) throw new JsonPathError(path)
    steps.push(stepOf(match))
  }
  return steps
}

function stepOf(match: RegExpExecArray): Step {
  const [, member, index, quoted, filterPath, operator = '==', literal = ''] = match
  if (member !== undefined) return { kind: 'member', name: member.replaceAll('\\.', '.') }
  if (quoted !== undefined) return { kind: 'member', name: quoted.replaceAll('\\.', '.') }
  if (index !== undefined) return index === '*' ? { kind: 'every' } : { kind: 'index', index: Number(index) }
  return { kind: 'filter', path: parsePath(filterPath ?? ''), operator, value: literalOf(literal) }
}

function literalOf(text: string): Json {
  if (text.startsWith('"') || text.startsWith("'")) return text.slice(1, -1)
  if (text === 'true' || text === 'false') return text === 'true'
  return Number(text)
}

function follow(value: Json, steps: readonly Step[]): readonly Json[] {
  let found: Json[] = [value]
  for (const step of steps) found = found.flatMap((item) => take(item, step))
  return found
}

function take(value: Json, step: Step): Json[] {
  switch (step.kind) {
    case 'member': {
      const member = isObject(value) && Object.hasOwn(value, step.name) ? value[step.name] : undefined
      return member === undefined ? [] : [member]
    }
    case 'index': {
      const item = Array.isArray(value) ? value[step.index] : undefined
      return item === undefined ? [] : [item]
    }
    case 'every':
      return Array.isArray(value) ? value : isObject(value) ? Object.values(value) : []
    case 'filter':
      if (!Array.isArray(value)) return []
      return value.filter((item) => equalJson(follow(item, step.path)[0], step.value) === (step.operator === '=='))
  }
}
