import { isObject, type JsonObject } from './json.ts'

/** A path as `FieldsV1` spells its steps: `f:name`, `k:{"name":"x"}`, `v:"x"`. */
export type FieldPath = readonly string[]

/** A set of field paths: what one manager owns. A node may be owned itself, own children, or both. */
export class FieldSet {
  /** Whether the node's own path is in the set. Public because the set operations below read other nodes. */
  owned = false
  readonly children = new Map<string, FieldSet>()

  static fromFieldsV1(fields: JsonObject): FieldSet {
    const set = new FieldSet()
    for (const [step, below] of Object.entries(fields)) {
      if (step === '.') {
        set.owned = true
        continue
      }
      const child = FieldSet.fromFieldsV1(isObject(below) ? below : {})
      if (child.children.size === 0) child.owned = true
      set.children.set(step, child)
    }
    return set
  }

  toFieldsV1(): JsonObject {
    const fields: JsonObject = {}
    if (this.owned && this.children.size > 0) fields['.'] = {}
    for (const step of [...this.children.keys()].sort()) fields[step] = this.children.get(step)?.toFieldsV1() ?? {}
    return fields
  }

  insert(path: FieldPath): void {
    const [step, ...rest] = path
    if (step === undefined) {
      this.owned = true
      return
    }
    let child = this.children.get(step)
    if (child === undefined) {
      child = new FieldSet()
      this.children.set(step, child)
    }
    child.insert(rest)
  }

  isEmpty(): boolean {
    if (this.owned) return false
    for (const child of this.children.values()) if (!child.isEmpty()) return false
    return true
  }

  has(path: FieldPath): boolean {
    return this.at(path)?.owned === true
  }

  at(path: FieldPath): FieldSet | undefined {
    const [step, ...rest] = path
    return step === undefined ? this : this.children.get(step)?.at(rest)
  }

  union(other: FieldSet): FieldSet {
    const result = new FieldSet()
    result.owned = this.owned || other.owned
    for (const [step, child] of this.children) result.children.set(step, child.union(other.children.get(step) ?? empty))
    for (const [step, child] of other.children) {
      if (!result.children.has(step)) result.children.set(step, child.union(empty))
    }
    return result
  }

  intersect(other: FieldSet): FieldSet {
    const result = new FieldSet()
    result.owned = this.owned && other.owned
    for (const [step, child] of this.children) {
      const match = other.children.get(step)
      if (match !== undefined) result.keep(step, child.intersect(match))
    }
    return result
  }

  /** Without the very paths of the other set; what lies below them stays. */
  minus(other: FieldSet): FieldSet {
    const result = new FieldSet()
    result.owned = this.owned && !other.owned
    for (const [step, child] of this.children) result.keep(step, child.minus(other.children.get(step) ?? empty))
    return result
  }

  /** Without the paths of the other set and all that lies below them. */
  minusTree(other: FieldSet): FieldSet {
    const result = new FieldSet()
    if (other.owned) return result
    result.owned = this.owned
    for (const [step, child] of this.children) result.keep(step, child.minusTree(other.children.get(step) ?? empty))
    return result
  }

  /** Named parents count as owned too, so that removing compares containers with containers. */
  withNamedParents(): FieldSet {
    const result = new FieldSet()
    result.owned = this.owned
    for (const [step, child] of this.children) {
      const below = child.withNamedParents()
      if (step.startsWith('f:')) below.owned = true
      result.children.set(step, below)
    }
    return result
  }

  equals(other: FieldSet): boolean {
    return this.minus(other).isEmpty() && other.minus(this).isEmpty()
  }

  paths(): FieldPath[] {
    const found: FieldPath[] = []
    const walk = (node: FieldSet, path: FieldPath): void => {
      if (node.owned) found.push(path)
      for (const step of [...node.children.keys()].sort()) {
        const child = node.children.get(step)
        if (child !== undefined) walk(child, [...path, step])
      }
    }
    walk(this, [])
    return found
  }

  private keep(step: string, child: FieldSet): void {
    if (!child.isEmpty()) this.children.set(step, child)
  }
}

const empty = new FieldSet()

/** As conflicts and typing errors name fields: `.spec.ports[name="http"].port`. */
export function pathText(path: FieldPath): string {
  return path.map(stepText).join('')
}

function stepText(step: string): string {
  const rest = step.slice(2)
  if (step.startsWith('f:')) return `.${rest}`
  if (step.startsWith('v:')) return `[=${rest}]`
  if (step.startsWith('i:')) return `[${rest}]`
  const parsed: unknown = JSON.parse(rest)
  const keys = isObject(parsed) ? Object.entries(parsed) : []
  return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`
}
