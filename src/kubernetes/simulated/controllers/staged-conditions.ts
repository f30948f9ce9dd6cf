import type { JsonObject } from '../json.ts'
import { equalJson, isObject, listAt, stringAt } from '../json.ts'
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

/** One step of a staged kind; see Controller. However late it comes, no stage is left out. */
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
  const isReady = shows(object, staged.ready)
  if (isReady && fault?.mode !== 'flap') return undefined
  const delay = behaviour === 'slow' ? context.options.slowMs : staged.readyAfterMs(object, context)
  const elapsed = context.elapsed(object, 'creation')
  if (fault?.mode === 'flap' && elapsed >= delay) {
    write(isReady ? staged.provisioning : staged.ready, isReady ? {} : staged.readyStatus?.(object))
    return fault.everyMs ?? 200
  }
  const firstAt = Math.min(100, delay / 10)
  if (elapsed < firstAt) return firstAt - elapsed
  if (!hasBegun(object, staged)) {
    write(staged.pending)
    return Math.max(1, delay / 3 - elapsed)
  }
  if (elapsed < delay / 3) return delay / 3 - elapsed
  const stalls = behaviour === 'stalls' || fault?.mode === 'stall'
  if (shows(object, staged.pending) || stalls) {
    write(staged.provisioning)
    return stalls ? undefined : Math.max(1, delay - elapsed)
  }
  if (elapsed < delay) return delay - elapsed
  if (behaviour === 'fails' || fault?.mode === 'fail') write(staged.failed(fault?.reason))
  else write(staged.ready, staged.readyStatus?.(object))
  return undefined
}

function hasBegun(object: KubernetesObject, staged: StagedKind): boolean {
  const types = new Set(staged.ready.map(({ type }) => type))
  return listAt(object, 'status', 'conditions').some((known) => types.has(stringAt(known, 'type') ?? ''))
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

/** Whether the conditions are these, in status and reason. */
function shows(object: KubernetesObject, wanted: readonly StatusCondition[]): boolean {
  const conditions = listAt(object, 'status', 'conditions')
  return wanted.every(({ type, status, reason }) =>
    conditions.some(
      (known) =>
        stringAt(known, 'type') === type &&
        stringAt(known, 'status') === status &&
        stringAt(known, 'reason') === reason,
    ),
  )
}
