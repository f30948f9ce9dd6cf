import { hiddenSecret } from '../platform/secret-box.ts'

type Path = readonly (string | number)[]

const cloudInitSources = new Set(['cloudInitNoCloud', 'cloudInitConfigDrive'])
const cloudInitTexts = new Set(['userData', 'userDataBase64', 'networkData', 'networkDataBase64'])
// kubectl keeps the whole manifest in it.
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

/** Where an object holds secrets: the data of a Secret, and what cloud-init hands to a machine. */
export function secretPathsOf(object: unknown): Path[] {
  const found: Path[] = []
  const isSecret = typeof object === 'object' && object !== null && 'kind' in object && object.kind === 'Secret'
  const visit = (value: unknown, path: Path): void => {
    if (typeof value === 'string') {
      if (isSecretPlace(path, isSecret)) found.push(path)
      return
    }
    if (typeof value !== 'object' || value === null) return
    for (const [key, item] of Object.entries(value)) visit(item, [...path, Array.isArray(value) ? Number(key) : key])
  }
  visit(object, [])
  return found
}

function isSecretPlace(path: Path, isSecret: boolean): boolean {
  const [last, parent] = [path.at(-1), path.at(-2)]
  if (last === lastApplied && parent === 'annotations') return true
  if (isSecret && path.length === 2 && (parent === 'data' || parent === 'stringData')) return true
  return cloudInitSources.has(String(parent)) && cloudInitTexts.has(String(last))
}

/** A copy for people and logs, in which secrets are hidden. */
export function hideSecretFields<T>(object: T): T {
  const paths = secretPathsOf(object)
  if (paths.length === 0) return object
  const copy = structuredClone(object)
  for (const path of paths) {
    const parent = path.slice(0, -1).reduce<unknown>((place, key) => Reflect.get(Object(place), key), copy)
    Reflect.set(Object(parent), path.at(-1) ?? '', hiddenSecret)
  }
  return copy
}
