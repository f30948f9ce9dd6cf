import type { JsonObject } from '../json.ts'
import { equalJson, isObject } from '../json.ts'
import type { KubernetesObject, StatusCondition } from '../kubernetes-object.ts'
import type { ResourceKind } from '../resource-kind.ts'
import { behaviourOf, faultOf, recreate, withConditions, writeStatus, type ControllerContext } from './controller.ts'

/** A kind that goes from no status over some conditions to its end, in time and by its name. */
export interface StagedKind {
  readonly kind: ResourceKind
  readonly manager: string
  readonly readyAfterMs: (object: KubernetesObject, context: ControllerContext) => number
  /** Conditions at first, a third of the way, and at the end. */
  readonly pending: readonly StatusCondition[]
  readonly provisioning: readonly StatusCondition[]
  readonly ready: readonly StatusCondition[]
  readonly failed: (reason: string | undefined) => readonly StatusCondition[]
  readonly observedGeneration: boolean
  /** More of the status than conditions, once ready. */
  readonly readyStatus?: (object: KubernetesObject) => JsonObject
}

/** One step of a staged kind; see Controller. */
export function stepStages(
  object: KubernetesObject,
  staged: StagedKind,
  context: ControllerContext,
): number | undefined {
  const fault = faultOf(object, staged.kind.plural, context)
  const behaviour = behaviourOf(object)
  const write = (conditions: readonly StatusCondition[], more: JsonObject = {}): void =>
    writeConditions(object, staged, { conditions, more, context })
  if (fault?.mode === 'deleteAndRecreate') recreate(object, staged.kind, context)
  const isReady = meets(object, staged.ready)
  if (isReady && fault?.mode !== 'flap') return undefined
  const delay = behaviour === 'slow' ? context.options.slowMs : staged.readyAfterMs(object, context)
  const elapsed = context.elapsed(object, 'creation')
  if (fault?.mode === 'flap' && elapsed >= delay) {
    write(isReady ? staged.provisioning : staged.ready, isReady ? {} : staged.readyStatus?.(object))
    return fault.everyMs ?? 200
  }
  const firstAt = Math.min(100, delay / 10)
  if (elapsed < firstAt) return firstAt - elapsed
  if (elapsed < delay / 3) {
    write(staged.pending)
    return delay / 3 - elapsed
  }
  if (elapsed < delay || behaviour === 'stalls' || fault?.mode === 'stall') {
    write(staged.provisioning)
    return elapsed < delay ? delay - elapsed : undefined
  }
  if (behaviour === 'fails' || fault?.mode === 'fail') write(staged.failed(fault?.reason))
  else write(staged.ready, staged.readyStatus?.(object))
  return undefined
}

/** Writes the conditions, and more of the status, where that changes anything. */
export function writeConditions(
  object: KubernetesObject,
  staged: StagedKind,
  wanted: {
    readonly conditions: readonly StatusCondition[]
    readonly more: JsonObject
    readonly context: ControllerContext
  },
): void {
  const { context, more } = wanted
  const before = isObject(object['status']) ? object['status'] : {}
  const conditions = withConditions(object, wanted.conditions, {
    now: context.clock.now(),
    observedGeneration: staged.observedGeneration,
  })
  const status = { ...before, ...more, conditions }
  if (equalJson(before, status)) return
  writeStatus(object, staged.kind, status, { writer: context.writer, manager: staged.manager })
}

function meets(object: KubernetesObject, wanted: readonly StatusCondition[]): boolean {
  const status = object['status']
  const conditions = isObject(status) && Array.isArray(status['conditions']) ? status['conditions'] : []
  return wanted.every(({ type, status: value }) =>
    conditions.some((known) => isObject(known) && known['type'] === type && known['status'] === value),
  )
}
