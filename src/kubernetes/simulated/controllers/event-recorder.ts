import { apiTime, type SimulatedClock } from '../clock.ts'
import { textOf } from '../json.ts'
import { eventKind } from '../kinds/core.ts'
import { namespaceOf, uidOf, type KubernetesObject } from '../kubernetes-object.ts'
import { resourceId } from '../resource-kind.ts'
import type { ObjectStore } from '../object-store.ts'
import type { ObjectWriter } from '../object-writer.ts'

export interface RecordedEvent {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
  /** Who says it, such as `kubelet`. */
  readonly component: string
}

/** Writes Events about objects; the same one again only counts up. */
export class EventRecorder {
  readonly #store: ObjectStore
  readonly #writer: ObjectWriter
  readonly #clock: SimulatedClock

  constructor(store: ObjectStore, writer: ObjectWriter, clock: SimulatedClock) {
    this.#store = store
    this.#writer = writer
    this.#clock = clock
  }

  record(object: KubernetesObject, event: RecordedEvent): void {
    const namespace = namespaceOf(object) || 'default'
    // A namespace on its way out takes no new objects; nobody will read this event.
    const home = this.#store.get('/namespaces', namespace)
    if (home === undefined || home.metadata['deletionTimestamp'] !== undefined) return
    const now = apiTime(this.#clock.now())
    const name = this.#nameFor(object, event)
    const manager = event.component
    const count = (draft: KubernetesObject): void => {
      draft['count'] = Number(draft['count'] ?? 0) + 1
      draft['lastTimestamp'] = now
    }
    if (this.#store.get(resourceId(eventKind), `${namespace}/${name}`) !== undefined) {
      this.#writer.edit(eventKind, { namespace, name }, count, { manager })
      return
    }
    const draft: KubernetesObject = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      involvedObject: {
        apiVersion: object.apiVersion,
        kind: object.kind,
        name: object.metadata.name,
        uid: uidOf(object),
        resourceVersion: textOf(object.metadata['resourceVersion']),
        ...(namespaceOf(object) === '' ? {} : { namespace }),
      },
      type: event.type,
      reason: event.reason,
      message: event.message,
      source: { component: event.component },
      reportingComponent: event.component,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    }
    this.#writer.create(eventKind, namespace, draft, { manager })
  }

  /** One name per object and message, so that repeating it finds the first. */
  #nameFor(object: KubernetesObject, { reason, message }: RecordedEvent): string {
    const hash = (text: string): number => {
      let value = 2_166_136_261
      for (let index = 0; index < text.length; index += 1) value = Math.imul(value ^ text.charCodeAt(index), 16_777_619)
      return value >>> 0
    }
    const suffix = hash(`${uidOf(object)}\0${reason}\0${message}`)
      .toString(16)
      .padStart(8, '0')
    return `${object.metadata.name}.${suffix}`
  }
}
