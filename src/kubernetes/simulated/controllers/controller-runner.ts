import { namespaceOf, objectKey, uidOf, type KubernetesObject } from '../kubernetes-object.ts'
import type { StoreEvent } from '../object-store.ts'
import { resourceId } from '../resource-kind.ts'
import type { Controller, ControllerContext } from './controller.ts'

/** Objects reconciled before requests get their turn again. */
const batchSize = 100
const retryAfterMs = 1_000

/** Calls controllers for what changed and for what asked to be called again. */
export class ControllerRunner {
  readonly #controllers: readonly Controller[]
  readonly #context: ControllerContext
  readonly #queue = new Map<string, { readonly controller: Controller; readonly key: string }>()
  readonly #timers = new Map<string, () => void>()
  readonly #firstSeen: Map<string, Map<string, number>>
  readonly #unsubscribe: () => void
  #cancelDrain: (() => void) | undefined
  #stopped = false

  constructor(controllers: readonly Controller[], context: Omit<ControllerContext, 'elapsed'>) {
    this.#controllers = controllers
    this.#firstSeen = new Map()
    this.#context = { ...context, elapsed: (object, phase) => this.#elapsed(object, phase) }
    this.#unsubscribe = context.store.subscribe((event) => this.#changed(event))
    this.enqueueAll()
  }

  /** Looks at every object again: after a start, and when faults come and go. */
  enqueueAll(): void {
    for (const controller of this.#controllers) {
      for (const key of this.#context.store.keys(resourceId(controller))) this.#enqueue(controller, key)
    }
  }

  stop(): void {
    this.#stopped = true
    this.#unsubscribe()
    this.#cancelDrain?.()
    for (const cancel of this.#timers.values()) cancel()
    this.#timers.clear()
    this.#queue.clear()
  }

  #changed(event: StoreEvent): void {
    if (event.type === 'DELETED') this.#firstSeen.delete(uidOf(event.object))
    for (const controller of this.#controllers) {
      if (resourceId(controller) === event.resource) this.#enqueue(controller, event.key)
      for (const { resource, concerns } of controller.watches ?? []) {
        if (resource !== event.resource) continue
        for (const key of concerns(event.object, this.#context)) this.#enqueue(controller, key)
      }
    }
  }

  #enqueue(controller: Controller, key: string): void {
    if (this.#stopped) return
    const id = `${controller.name}\0${key}`
    this.#timers.get(id)?.()
    this.#timers.delete(id)
    this.#queue.set(id, { controller, key })
    // Never inside the write that caused it: its watchers must see that write first.
    this.#cancelDrain ??= this.#context.clock.schedule(() => this.#drain(), 0)
  }

  #drain(): void {
    this.#cancelDrain = undefined
    let left = batchSize
    for (const [id, { controller, key }] of this.#queue) {
      this.#queue.delete(id)
      this.#reconcile(id, controller, key)
      left -= 1
      if (left === 0) break
    }
    if (this.#queue.size > 0 && !this.#stopped) {
      this.#cancelDrain ??= this.#context.clock.schedule(() => this.#drain(), 0)
    }
  }

  #reconcile(id: string, controller: Controller, key: string): void {
    const object = this.#context.store.get(resourceId(controller), key)
    if (object === undefined) return
    const again = this.#attempt(controller, object)
    if (again === undefined || this.#stopped || this.#queue.has(id)) return
    const cancel = this.#context.clock.schedule(
      () => {
        this.#timers.delete(id)
        this.#enqueue(controller, key)
      },
      Math.max(1, again),
    )
    this.#timers.set(id, cancel)
  }

  /** A write that is refused (a template that no rule allows, say) is an Event and another try, never the end of it all. */
  #attempt(controller: Controller, object: KubernetesObject): number | undefined {
    try {
      return controller.reconcile(object, this.#context)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      const component = `${controller.name}-controller`
      this.#context.recordEvent(object, { type: 'Warning', reason: 'ReconcileError', message, component })
      return retryAfterMs
    }
  }

  #elapsed(object: KubernetesObject, phase: string): number {
    const uid = uidOf(object) || objectKey(namespaceOf(object), object.metadata.name)
    let phases = this.#firstSeen.get(uid)
    if (phases === undefined) {
      phases = new Map()
      this.#firstSeen.set(uid, phases)
    }
    const now = this.#context.clock.now()
    const since = phases.get(phase)
    if (since !== undefined) return now - since
    phases.set(phase, now)
    return 0
  }
}
