import type { KubernetesObject } from '../kubernetes/cluster.ts'
import { secretPathsOf } from '../kubernetes/secret-fields.ts'

// What the server stamps on every object says nothing about the change.
const stamped = new Set(['managedFields', 'resourceVersion', 'uid', 'creationTimestamp', 'generation', 'selfLink'])

/** Field by field, `- was` and `+ becomes`; empty when nothing would change. */
export function objectDiff(before: KubernetesObject | undefined, after: KubernetesObject): string {
  const was = flatten(before)
  const becomes = flatten(after)
  // That a secret changes is told, and nothing more.
  const secrets = new Set([before, after].flatMap(secretPathsOf).map(flatPath))
  const shown = (path: string, value: string | undefined) => (secrets.has(path) ? '(hidden)' : value)
  const paths = [...new Set([...was.keys(), ...becomes.keys()])].sort()
  return paths
    .filter((path) => was.get(path) !== becomes.get(path))
    .flatMap((path) => [
      ...(was.has(path) ? [`- ${path}: ${shown(path, was.get(path))}`] : []),
      ...(becomes.has(path) ? [`+ ${path}: ${shown(path, becomes.get(path))}`] : []),
    ])
    .join('\n')
}

const flatPath = (path: readonly (string | number)[]): string =>
  path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('')

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
