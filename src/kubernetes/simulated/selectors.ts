import { listAt, objectAt, stringAt, textOf, type JsonObject } from './json.ts'
import { childPathValue } from './json-path.ts'
import { labelsOf, namespaceOf, type KubernetesObject } from './kubernetes-object.ts'
import type { ResourceKind } from './resource-kind.ts'
import { badRequest } from './status-error.ts'

export type ObjectFilter = (object: KubernetesObject) => boolean

interface LabelRequirement {
  readonly key: string
  readonly operator: 'in' | 'notin' | 'exists' | 'absent'
  readonly values: readonly string[]
}

/** `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined by commas. */
export function parseLabelSelector(text: string): ObjectFilter | undefined {
  const requirements = splitTerms(text).map(parseLabelTerm)
  if (requirements.length === 0) return undefined
  return (object) => {
    const labels = labelsOf(object)
    return requirements.every((requirement) => meets(labels, requirement))
  }
}

/** The same for a selector that stands in a specification: `matchLabels` and `matchExpressions`. */
export function matchesSelector(labels: JsonObject, selector: JsonObject): boolean {
  const texts: Record<string, string> = {}
  for (const [key, value] of Object.entries(labels)) texts[key] = textOf(value)
  const wanted = Object.entries(objectAt(selector, 'matchLabels') ?? {})
  if (!wanted.every(([key, value]) => texts[key] === value)) return false
  return listAt(selector, 'matchExpressions').every((expression) => {
    const operator = expressionOperators[stringAt(expression, 'operator') ?? '']
    const values = listAt(expression, 'values').map(String)
    return operator !== undefined && meets(texts, { key: stringAt(expression, 'key') ?? '', operator, values })
  })
}

const expressionOperators: Readonly<Record<string, LabelRequirement['operator']>> = {
  In: 'in',
  NotIn: 'notin',
  Exists: 'exists',
  DoesNotExist: 'absent',
}

/** `metadata.name=x,spec.a!=b`; a field that the kind does not offer is refused. */
export function parseFieldSelector(text: string, kind: ResourceKind): ObjectFilter | undefined {
  const terms = splitTerms(text).map((term) => {
    const match = /^([^=!]+?)\s*(==|=|!=)\s*(.*)$/s.exec(term)
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`)
    const [, field = '', operator = '=', value = ''] = match
    if (!fieldIsSelectable(field, kind)) {
      throw badRequest(
        kind.custom
          ? `field label not supported: ${field}`
          : `"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`,
      )
    }
    return { field, equal: operator !== '!=', value }
  })
  if (terms.length === 0) return undefined
  return (object) => terms.every(({ field, equal, value }) => (fieldValue(object, field) === value) === equal)
}

function fieldIsSelectable(field: string, kind: ResourceKind): boolean {
  return field === 'metadata.name' || field === 'metadata.namespace' || kind.selectableFields.includes(field)
}

function fieldValue(object: KubernetesObject, field: string): string {
  if (field === 'metadata.name') return object.metadata.name
  if (field === 'metadata.namespace') return namespaceOf(object)
  const value = childPathValue(object, `.${field}`)
  return textOf(value)
}

/** Splits at commas outside of parentheses. */
function splitTerms(text: string): string[] {
  const terms: string[] = []
  let depth = 0
  let term = ''
  for (const character of text) {
    if (character === '(') depth += 1
    if (character === ')') depth -= 1
    if (character === ',' && depth === 0) {
      terms.push(term)
      term = ''
    } else term += character
  }
  terms.push(term)
  return terms.map((part) => part.trim()).filter((part) => part !== '')
}

function parseLabelTerm(term: string): LabelRequirement {
  const set = /^([^\s=!()]+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(term)
  if (set !== null) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim())
    return { key: labelKey(set[1] ?? '', term), operator: set[2] === 'in' ? 'in' : 'notin', values }
  }
  const equality = /^([^\s=!()]+)\s*(==|=|!=)\s*([^\s=!(),]*)$/.exec(term)
  if (equality !== null) {
    const operator = equality[2] === '!=' ? 'notin' : 'in'
    return { key: labelKey(equality[1] ?? '', term), operator, values: [equality[3] ?? ''] }
  }
  const presence = /^(!?)\s*([^\s=!()]+)$/.exec(term)
  if (presence === null) throw badRequest(`unable to parse requirement: found '${term}'`)
  return { key: labelKey(presence[2] ?? '', term), operator: presence[1] === '!' ? 'absent' : 'exists', values: [] }
}

function labelKey(key: string, term: string): string {
  if (/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(key)) return key
  throw badRequest(
    `unable to parse requirement: key: Invalid value: "${key}": name part must consist of alphanumeric characters, '-', '_' or '.' (in '${term}')`,
  )
}

function meets(labels: Readonly<Record<string, string>>, { key, operator, values }: LabelRequirement): boolean {
  const present = Object.hasOwn(labels, key)
  switch (operator) {
    case 'exists':
      return present
    case 'absent':
      return !present
    case 'in':
      return present && values.includes(labels[key] ?? '')
    case 'notin':
      return !present || !values.includes(labels[key] ?? '')
  }
}
