import { type ASTNode, Environment, type ParseResult } from '@marcbachmann/cel-js'

export type ExpressionResult = { readonly value: boolean } | { readonly problem: string }

const environment = new Environment({
  unlistedVariablesAreDyn: false,
  enableOptionalTypes: true,
  limits: { maxAstNodes: 500, maxDepth: 40 },
}).registerVariable('object', 'dyn')

const comprehensions = new Set(['all', 'exists', 'exists_one', 'map', 'filter'])
// Users send expressions: one that walks a list inside a list is the most that may run, over lists of this length.
const maxNesting = 2
const maxListLength = 500
const maxParsed = 500
const parsed = new Map<string, ParseResult>()

/** What is wrong with a CEL expression over `object`, or `undefined`. Call it when rules are accepted. */
export function checkExpression(expression: string): string | undefined {
  try {
    const { valid, error } = parse(expression).check()
    return valid ? undefined : (error?.message ?? 'is no valid CEL')
  } catch (error) {
    return firstLine(error)
  }
}

/** Evaluates CEL over `object`. A missing field is a `problem`, not an exception: objects grow their status in steps. */
export function evaluateExpression(expression: string, object: unknown): ExpressionResult {
  try {
    const value: unknown = parse(expression)({ object: toCel(object) })
    return typeof value === 'boolean' ? { value } : { problem: `${expression} is no true or false` }
  } catch (error) {
    return { problem: firstLine(error) }
  }
}

function parse(expression: string): ParseResult {
  const known = parsed.get(expression)
  if (known) return known
  const fresh = environment.parse(expression)
  checkCost(fresh.ast, 0)
  // The oldest goes: rules come in few shapes, and a flood of others must not stay.
  if (parsed.size >= maxParsed) parsed.delete(parsed.keys().next().value ?? '')
  parsed.set(expression, fresh)
  return fresh
}

function checkCost(node: ASTNode, nesting: number): void {
  let inside = nesting
  if (node.op === 'rcall') {
    const [name] = node.args
    // Patterns run on a backtracking engine: one can be made that never ends.
    if (name === 'matches') throw new Error('matches() is not supported here: use ==, startsWith, endsWith or contains')
    if (comprehensions.has(name)) inside += 1
  }
  if (node.op === 'call' && node.args[0] === 'matches') throw new Error('matches() is not supported here')
  if (inside > maxNesting) throw new Error(`lists may be walked ${maxNesting} deep, not deeper`)
  for (const child of childrenOf(node.args)) checkCost(child, inside)
}

function childrenOf(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(childrenOf)
  // Every node of the parser's tree has an `op`; other arguments are names and literals.
  return typeof args === 'object' && args !== null && 'op' in args ? [args as ASTNode] : []
}

// CEL's integers are BigInts here, and JSON's numbers are not: `replicas + 1` would find no operator.
function toCel(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (Array.isArray(value)) {
    if (value.length > maxListLength) throw new Error(`a list of ${value.length} items is too long for an expression`)
    return value.map(toCel)
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toCel(item)]))
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}
