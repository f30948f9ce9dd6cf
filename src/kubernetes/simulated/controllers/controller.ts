import type { SimulatedClock } from '../clock.ts'
import type { ControllerFault, Faults } from '../faults.ts'
import type { Json, JsonObject } from '../json.ts'
import { isObject, listAt } from '../json.ts'
import {
  generationOf,
  isTerminating,
  namespaceOf,
  uidOf,
  type KubernetesObject,
  type StatusCondition,
} from '../kubernetes-object.ts'
import { apiTime } from '../clock.ts'
import type { ObjectRemover } from '../object-remover.ts'
import type { ObjectStore } from '../object-store.ts'
import type { ObjectName, ObjectWriter } from '../object-writer.ts'
import type { RecordedEvent } from './event-recorder.ts'
import type { KindRegistry, ResourceKind } from '../resource-kind.ts'

/** How fast, and how well, the controllers work. Times in milliseconds. */
export interface ControllerOptions {
  /** False: objects stay as they are written; only deletion, namespaces and definitions are looked after. @default true */
  readonly enabled: boolean
  /** From creation until a Project is Ready. @default 1_000 */
  readonly projectReadyAfterMs: number
  /** Each Project waits up to this much longer, by chance. @default 0 */
  readonly projectReadySpreadMs: number
  /** From creation until a DNSZone is Accepted and Programmed. @default 1_000 */
  readonly dnsZoneReadyAfterMs: number
  /** From a start until a VirtualMachine is Ready. @default 1_000 */
  readonly virtualMachineStartAfterMs: number
  /** From a stop until its instance is gone. @default 500 */
  readonly virtualMachineStopAfterMs: number
  /** From creation until a Pod is Ready. @default 300 */
  readonly podReadyAfterMs: number
  /** From its start until a Job's Pod succeeds. @default 500 */
  readonly jobDurationMs: number
  /** From deletion until controllers remove their finalizers. @default 200 */
  readonly deletionAfterMs: number
  /** Delay of objects whose name begins with `slow-`. @default 10_000 */
  readonly slowMs: number
}

export const controllerDefaults: ControllerOptions = {
  enabled: true,
  projectReadyAfterMs: 1_000,
  projectReadySpreadMs: 0,
  dnsZoneReadyAfterMs: 1_000,
  virtualMachineStartAfterMs: 1_000,
  virtualMachineStopAfterMs: 500,
  podReadyAfterMs: 300,
  jobDurationMs: 500,
  deletionAfterMs: 200,
  slowMs: 10_000,
}

export interface ControllerContext {
  readonly store: ObjectStore
  readonly writer: ObjectWriter
  readonly remover: ObjectRemover
  readonly kinds: KindRegistry
  readonly clock: SimulatedClock
  readonly random: () => number
  readonly options: ControllerOptions
  readonly faults: Faults
  readonly recordEvent: (object: KubernetesObject, event: RecordedEvent) => void
  /** Milliseconds since this cluster first saw the object in this phase; a phase is any word. */
  readonly elapsed: (object: KubernetesObject, phase: string) => number
}

/** Brings one object a step further. Returns the milliseconds until it wants to be called again, if any. */
export interface Controller {
  readonly name: string
  readonly group: string
  readonly plural: string
  /** Other resources whose changes concern objects of this one; the function names them. */
  readonly watches?: readonly {
    readonly resource: string
    readonly concerns: (object: KubernetesObject, context: ControllerContext) => readonly string[]
  }[]
  readonly reconcile: (object: KubernetesObject, context: ControllerContext) => number | undefined
}

export function nameOf(object: KubernetesObject): ObjectName {
  return { namespace: namespaceOf(object), name: object.metadata.name }
}

export type Behaviour = 'normal' | 'stalls' | 'fails' | 'slow'

/** Before the name of a machine, in that of the Pod that runs it. */
export const launcherPrefix = 'virt-launcher-'

/** What an object's name asks for: `stalls-…`, `fails-…`, `slow-…`. */
export function behaviourOf(object: KubernetesObject): Behaviour {
  const name = object.metadata.name.replace(launcherPrefix, '')
  if (name.startsWith('stalls-')) return 'stalls'
  if (name.startsWith('fails-')) return 'fails'
  return name.startsWith('slow-') ? 'slow' : 'normal'
}

/** Sets conditions; a condition keeps its transition time unless its status changes. */
export function withConditions(
  object: KubernetesObject,
  wanted: readonly StatusCondition[],
  options: { readonly now: number; readonly observedGeneration: boolean },
): Json[] {
  const conditions = [...listAt(object, 'status', 'conditions')]
  for (const { type, status, reason, message } of wanted) {
    const index = conditions.findIndex((known) => isObject(known) && known['type'] === type)
    const before = conditions[index]
    const same = isObject(before) && before['status'] === status
    const condition: JsonObject = {
      type,
      status,
      reason,
      message,
      lastTransitionTime: (same ? before['lastTransitionTime'] : undefined) ?? apiTime(options.now),
    }
    if (options.observedGeneration) condition['observedGeneration'] = generationOf(object)
    if (index < 0) conditions.push(condition)
    else conditions[index] = condition
  }
  return conditions
}

/** Writes a status the way a controller does: through the subresource, under the controller's name. */
export function writeStatus(
  object: KubernetesObject,
  kind: ResourceKind,
  status: JsonObject,
  { writer, manager }: { readonly writer: ObjectWriter; readonly manager: string },
): void {
  writer.edit(kind, nameOf(object), (draft) => (draft['status'] = status), { manager, subresource: 'status' })
}

/** Holds a finalizer, and lets go of it a while after deletion. Undefined: the object is not being deleted. */
export function guardDeletion(
  object: KubernetesObject,
  kind: ResourceKind,
  finalizer: string,
  context: ControllerContext,
): { readonly wait: number | undefined } | undefined {
  const finalizers = object.metadata['finalizers']
  const held = Array.isArray(finalizers) && finalizers.includes(finalizer)
  const manager = `${kind.singular}-controller`
  if (!isTerminating(object)) {
    if (held) return undefined
    const add = (draft: KubernetesObject): void => {
      const before = draft.metadata['finalizers']
      draft.metadata['finalizers'] = [...(Array.isArray(before) ? before : []), finalizer]
    }
    context.writer.edit(kind, nameOf(object), add, { manager })
    return undefined
  }
  if (!held) return { wait: undefined }
  const left = context.options.deletionAfterMs - context.elapsed(object, 'deletion')
  if (left > 0) return { wait: left }
  const drop = (draft: KubernetesObject): void => {
    const before = draft.metadata['finalizers']
    const rest = (Array.isArray(before) ? before : []).filter((item) => item !== finalizer)
    if (rest.length === 0) delete draft.metadata['finalizers']
    else draft.metadata['finalizers'] = rest
  }
  context.writer.edit(kind, nameOf(object), drop, { manager })
  return { wait: undefined }
}

/** Deletes the object once and makes it anew under its name, as an impatient operator does. */
export function recreate(object: KubernetesObject, kind: ResourceKind, context: ControllerContext): void {
  if (context.elapsed(object, 'recreated') > 0 || wasRecreated(object)) return
  context.writer.edit(kind, nameOf(object), (draft) => delete draft.metadata['finalizers'], { manager: 'recreator' })
  context.remover.remove(kind, nameOf(object), { graceSeconds: 0, uid: uidOf(object) })
  const { name, labels } = object.metadata
  const copy: KubernetesObject = {
    ...object,
    metadata: {
      name,
      ...(labels === undefined ? {} : { labels }),
      annotations: { [recreatedAnnotation]: 'true' },
    },
  }
  delete copy['status']
  context.writer.create(kind, namespaceOf(object), copy, { manager: 'recreator' })
}

const recreatedAnnotation = 'simulated.sluice/recreated'

function wasRecreated(object: KubernetesObject): boolean {
  const annotations = object.metadata['annotations']
  return isObject(annotations) && annotations[recreatedAnnotation] === 'true'
}

export function faultOf(
  object: KubernetesObject,
  plural: string,
  context: ControllerContext,
): ControllerFault | undefined {
  return context.faults.controllerFault(object, plural)
}
