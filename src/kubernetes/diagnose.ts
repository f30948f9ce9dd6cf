import { type Clock, systemClock } from './clock.ts'
import type { Cluster, CollectionRef } from './cluster.ts'
import { ForbiddenError, UnknownKindError } from './cluster-errors.ts'
import { describeRef, isRecord, type KubernetesObject, refOf } from './kubernetes-object.ts'
import { raceSignal } from './race-signal.ts'
import { conditionsOf, podFailures } from './readiness-presets.ts'

export interface DiagnoseOptions {
  readonly basePath?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Milliseconds that the look-ups may take. @default 4_000 */
  readonly timeoutMs?: number | undefined
}

// Kinds between an object and its pods.
const intermediates: Readonly<Record<string, Pick<CollectionRef, 'apiVersion' | 'kind'>>> = {
  Deployment: { apiVersion: 'apps/v1', kind: 'ReplicaSet' },
  CronJob: { apiVersion: 'batch/v1', kind: 'Job' },
  VirtualMachine: { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance' },
}
// Kinds whose pods are their own. Of any other kind nobody knows what it makes: its events speak.
const podOwners = new Set(['Pod', 'ReplicaSet', 'StatefulSet', 'DaemonSet', 'Job', 'VirtualMachineInstance'])
const mostFindings = 5
const shareMs = 2_000
const mostPages = 10
const longestFinding = 300

/**
 * Says in a sentence or two why an object is not ready, from what its owner's status does not tell: the Pods that
 * descend from it (by owner uid) and warning events about any of them. What may not be read is left out, as is a kind that
 * the cluster lacks; `undefined` when there is nothing to say. Rejects when that is not known, since the cluster did not
 * answer, and with the signal's reason.
 */
export async function diagnose(
  cluster: Cluster,
  object: KubernetesObject,
  options: DiagnoseOptions = {},
): Promise<string | undefined> {
  let unread: { readonly error: unknown } | undefined
  const read: Read = async (collection) => {
    const items: KubernetesObject[] = []
    try {
      for await (const page of pagesOf(cluster, collection, options)) items.push(...page)
    } catch (error) {
      options.signal?.throwIfAborted()
      const refused = error instanceof ForbiddenError || error instanceof UnknownKindError
      if (!refused) unread = { error }
    }
    return items
  }
  const { namespace } = object.metadata
  const hasPods = intermediates[object.kind] !== undefined || podOwners.has(object.kind)
  // Children of cluster-scoped objects may be anywhere: reading all pods of a cluster is no diagnosis.
  const related =
    namespace !== undefined && hasPods
      ? await relatedObjects(read, object, namespace)
      : new Map([[object.metadata.uid, object]])
  const findings = [...related.values()].filter(({ kind }) => kind === 'Pod').flatMap(podFindings)
  const warnings = await warningsAbout(read, related)
  const said = sentence([...new Set([...findings, ...warnings])])
  if (said === undefined && unread) throw unread.error
  return said
}

/**
 * As `diagnose`, for many objects: what one has just read, the next does not read again. Thousands of waits that end at
 * one moment ask for each namespace once in two seconds.
 */
export function createDiagnoser(clock: Clock = systemClock): typeof diagnose {
  const shared = new WeakMap<Cluster, Map<string, ReturnType<Cluster['list']>>>()
  return (cluster, object, options) => {
    const lists = shared.get(cluster) ?? new Map<string, ReturnType<Cluster['list']>>()
    shared.set(cluster, lists)
    const list: Cluster['list'] = (collection, { signal, ...call } = {}) => {
      const key = JSON.stringify([collection, call.basePath, call.limit, call.continueToken])
      const answer = lists.get(key) ?? cluster.list(collection, call)
      if (!lists.has(key)) {
        lists.set(key, answer)
        clock.after(shareMs, () => lists.delete(key))
      }
      return raceSignal(answer, signal)
    }
    return diagnose({ ...cluster, list }, object, options)
  }
}

/** What cannot be read holds nothing. */
type Read = (collection: CollectionRef) => Promise<readonly KubernetesObject[]>

/** The object, what it made, and the pods of those, by uid. */
async function relatedObjects(
  read: Read,
  object: KubernetesObject,
  namespace: string,
): Promise<Map<string, KubernetesObject>> {
  const related = new Map([[object.metadata.uid, object]])
  const between = intermediates[object.kind]
  const collections = [...(between ? [between] : []), { apiVersion: 'v1', kind: 'Pod' }]
  for (const collection of collections) {
    for (const item of await read({ ...collection, namespace })) {
      if (item.metadata.ownerReferences?.some(({ uid }) => related.has(uid))) {
        // Lists of built-in kinds leave the kind out of their items.
        related.set(item.metadata.uid, { ...item, ...collection })
      }
    }
  }
  return related
}

function podFindings(pod: KubernetesObject): string[] {
  const what = describeRef(refOf(pod))
  const failures = podFailures(pod).map(({ reason, message }) => `${what}: ${reason} (${message})`)
  if (failures.length > 0) return failures
  const status = isRecord(pod['status']) ? pod['status'] : {}
  const { phase, reason, message } = status
  // Evicted, for instance: no container says so.
  if (phase === 'Failed' && typeof reason === 'string') {
    return [`${what}: ${reason}${typeof message === 'string' ? ` (${message})` : ''}`]
  }
  const notReady = conditionsOf(pod).some(({ type, status: ready }) => type === 'Ready' && ready !== 'True')
  const ended = notReady ? endedContainer(status) : undefined
  return ended === undefined ? [] : [`${what}: ${ended}`]
}

/** A container that failed, now or before it was started again. */
function endedContainer(status: Readonly<Record<string, unknown>>): string | undefined {
  const containers = ['initContainerStatuses', 'containerStatuses'].flatMap((field) => {
    const list = status[field]
    return Array.isArray(list) ? list.filter(isRecord) : []
  })
  for (const { state, lastState, name } of containers) {
    const terminated = [state, lastState]
      .map((each) => (isRecord(each) && isRecord(each['terminated']) ? each['terminated'] : undefined))
      .find((each) => each !== undefined && each['exitCode'] !== 0)
    if (terminated)
      return `container ${String(name)} ended (${String(terminated['reason'])}, exit code ${String(terminated['exitCode'])})`
  }
  return undefined
}

async function warningsAbout(read: Read, related: ReadonlyMap<string, KubernetesObject>): Promise<string[]> {
  const [subject] = related.values()
  const namespace = subject?.metadata.namespace ?? 'default'
  const only = related.size === 1 && subject ? `,involvedObject.uid=${subject.metadata.uid}` : ''
  const fieldSelector = `type=Warning${only}`
  const events = await read({ apiVersion: 'v1', kind: 'Event', namespace, fieldSelector })
  const about = events
    .filter((event) => isRecord(event['involvedObject']) && related.has(String(event['involvedObject']['uid'])))
    .toSorted((a, b) => timeOf(b).localeCompare(timeOf(a)))
  // A controller that tries again says the same of one object again, each time of another child's name.
  const newest = new Map<string, string>()
  for (const event of about) {
    const involved = related.get(String((event['involvedObject'] as { uid?: unknown }).uid)) // checked by the filter
    const what = `${involved ? describeRef(refOf(involved)) : 'Event'}: ${String(event['reason'])}`
    const message = String(event['message']).replace(/^\(combined from similar events\): /, '')
    const kind = `${what} ${message.replaceAll(/"[^"]*"/g, '""')}`
    if (!newest.has(kind)) newest.set(kind, `${what} (${message})`)
  }
  return [...newest.values()]
}

function timeOf(event: KubernetesObject): string {
  const time = event['lastTimestamp'] ?? event['eventTime'] ?? event.metadata.creationTimestamp
  return typeof time === 'string' ? time : ''
}

async function* pagesOf(
  cluster: Cluster,
  collection: CollectionRef,
  options: DiagnoseOptions,
): AsyncGenerator<readonly KubernetesObject[]> {
  const { basePath, signal, timeoutMs = 4_000 } = options
  let continueToken: string | undefined
  for (let page = 0; page < mostPages; page++) {
    const listed = await cluster.list(collection, { basePath, signal, timeoutMs, limit: 500, continueToken })
    yield listed.items
    continueToken = listed.continueToken
    if (continueToken === undefined) return
  }
}

function sentence(findings: readonly string[]): string | undefined {
  if (findings.length === 0) return undefined
  const shown = findings.slice(0, mostFindings).map((finding) => {
    const text = finding.replaceAll(/\s+/g, ' ')
    return text.length > longestFinding ? `${text.slice(0, longestFinding)}…` : text
  })
  const more = findings.length > shown.length ? `; and ${findings.length - shown.length} more` : ''
  return `Seen: ${shown.join('; ')}${more}.`
}
