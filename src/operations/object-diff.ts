import type { KubernetesObject } from '../kubernetes/cluster.ts'
import { isSecret } from '../kubernetes/hide-secret-data.ts'

// What the server stamps on every object says nothing about the change.
const stamped = new Set(['managedFields', 'resourceVersion', 'uid', 'creationTimestamp', 'generation', 'selfLink'])

// Of a Secret: that a value changes may be told, not from what to what.
const hidden = /^(data|stringData)\.|^metadata\.annotations\.kubectl\.kubernetes\.io\/last-applied-configuration$/

/** Field by field, `- was` and `+ becomes`; empty when nothing would change. */
export function objectDiff(before: KubernetesObject | undefined, after: KubernetesObject): string {
  const was = flatten(before)
  const becomes = flatten(after)
  const paths = [...new Set([...was.keys(), ...becomes.keys()])].sort()
  return paths
    .filter((path) => was.get(path) !== becomes.get(path))
    .flatMap((path) => {
      const shown = (value: string | undefined) => (hidden.test(path) && isSecret(after) ? '(hidden)' : value)
      return [
        ...(was.has(path) ? [`- ${path}: ${shown(was.get(path))}`] : []),
        ...(becomes.has(path) ? [`+ ${path}: ${shown(becomes.get(path))}`] : []),
      ]
    })
    .join('\n')
}

function flatten(object: KubernetesObject | undefined): Map<string, string> {
  const fields = new Map<string, string>()
  const visit = (value: unknown, path: string): void => {
    if (value === null || typeof value !== 'object') {
      if (value !== undefined) fields.set(path, JSON.stringify(value))
      return
    }
    const entries = Array.isArray(value) ? value.map((item, i) => [`[${i}]`, item] as const) : Object.entries(value)
    for (const [key, item] of entries) {
      if (path === 'metadata' && stamped.has(key)) continue
      visit(item, Array.isArray(value) ? `${path}${key}` : path ? `${path}.${key}` : key)
    }
  }
  if (object) {
    const { status: _status, ...wanted } = object as KubernetesObject & { status?: unknown }
    visit(wanted, '')
  }
  return fields
}
