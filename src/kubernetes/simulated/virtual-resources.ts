import type { RequestTarget, Verb } from './api-request.ts'
import { mayDo, type User } from './authorization.ts'
import { isObject, objectAt, stringAt, valueAt, type Json, type JsonObject } from './json.ts'
import { finalizersOf, type KubernetesObject } from './kubernetes-object.ts'
import { namespaceKind } from './kinds/core.ts'
import { virtualMachineInstanceKind, virtualMachineKind } from './kinds/virtual-machine.ts'
import type { ObjectRemover } from './object-remover.ts'
import type { ObjectStore } from './object-store.ts'
import { isFinished, type ObjectWriter } from './object-writer.ts'
import { resourceId } from './resource-kind.ts'
import { badRequest, StatusError } from './status-error.ts'

/** A resource that is an action or a question: nothing is kept under its name. */
export interface VirtualResource {
  readonly group: string
  readonly version: string
  readonly resource: string
  /** Empty, or the action on one object of the resource. */
  readonly subresource: string
  readonly kind: string
  readonly namespaced: boolean
  readonly verb: Verb
  readonly answer: (asked: VirtualRequest) => { readonly status: number; readonly body: JsonObject | undefined }
}

export interface VirtualRequest {
  readonly target: RequestTarget
  readonly user: User
  readonly body: Json | undefined
  readonly store: ObjectStore
  readonly writer: ObjectWriter
  readonly remover: ObjectRemover
}

const manager = { manager: 'virt-api' }

export const virtualResources: readonly VirtualResource[] = [
  machineAction('start', startMachine),
  machineAction('stop', stopMachine),
  machineAction('restart', restartMachine),
  {
    group: 'authorization.k8s.io',
    version: 'v1',
    resource: 'selfsubjectaccessreviews',
    subresource: '',
    kind: 'SelfSubjectAccessReview',
    namespaced: false,
    verb: 'create',
    answer: ({ user, body }) => ({ status: 201, body: reviewAccess(user, body) }),
  },
  {
    group: 'authentication.k8s.io',
    version: 'v1',
    resource: 'selfsubjectreviews',
    subresource: '',
    kind: 'SelfSubjectReview',
    namespaced: false,
    verb: 'create',
    answer: ({ user }) => ({
      status: 201,
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'SelfSubjectReview',
        metadata: { creationTimestamp: null },
        status: { userInfo: { username: user.name, groups: [...user.groups] } },
      },
    }),
  },
  {
    group: '',
    version: 'v1',
    resource: 'namespaces',
    subresource: 'finalize',
    kind: 'Namespace',
    namespaced: false,
    verb: 'update',
    answer: ({ target, body, writer }) => ({ status: 200, body: finalizeNamespace(target, body, writer) }),
  },
]

function machineAction(action: string, run: (asked: VirtualRequest) => void): VirtualResource {
  return {
    group: 'subresources.kubevirt.io',
    version: 'v1',
    resource: 'virtualmachines',
    subresource: action,
    kind: 'VirtualMachine',
    namespaced: true,
    verb: 'update',
    answer(asked) {
      run(asked)
      return { status: 202, body: undefined }
    },
  }
}

function startMachine(asked: VirtualRequest): void {
  const machine = asked.writer.live(virtualMachineKind, asked.target)
  if (instanceOf(asked) !== undefined) throw machineConflict(asked.target.name, 'VM is already running')
  switch (strategyOf(machine)) {
    case 'Manual':
      request(asked, [{ action: 'Start' }])
      return
    case 'Always':
    case 'Once':
      throw machineConflict(asked.target.name, `${strategyOf(machine)} does not support manual start requests`)
    default:
      setStrategy(asked, 'Always')
  }
}

function stopMachine(asked: VirtualRequest): void {
  const machine = asked.writer.live(virtualMachineKind, asked.target)
  const instance = instanceOf(asked)
  if (instance === undefined) throw machineConflict(asked.target.name, 'VM is not running')
  if (strategyOf(machine) === 'Manual') request(asked, [{ action: 'Stop', uid: instance.metadata['uid'] ?? '' }])
  else setStrategy(asked, 'Halted')
}

function restartMachine(asked: VirtualRequest): void {
  const machine = asked.writer.live(virtualMachineKind, asked.target)
  const instance = instanceOf(asked)
  if (strategyOf(machine) === 'Halted') {
    throw machineConflict(asked.target.name, 'Halted does not support manual restart requests')
  }
  if (instance === undefined) throw machineConflict(asked.target.name, 'VM is not running')
  request(asked, [{ action: 'Stop', uid: instance.metadata['uid'] ?? '' }, { action: 'Start' }])
}

/** What is wanted once, beside the specification, stands in the status until it is done. */
function request({ writer, target }: VirtualRequest, requests: Json[]): void {
  const change = (draft: KubernetesObject): void => {
    const status = objectAt(draft, 'status') ?? {}
    draft['status'] = { ...status, stateChangeRequests: requests }
  }
  writer.edit(virtualMachineKind, target, change, { ...manager, subresource: 'status' })
}

function setStrategy({ writer, target }: VirtualRequest, runStrategy: string): void {
  const change = (draft: KubernetesObject): void => {
    const { running: _, ...spec } = objectAt(draft, 'spec') ?? {}
    draft['spec'] = { ...spec, runStrategy }
  }
  writer.edit(virtualMachineKind, target, change, manager)
}

/** `spec.running` is the old way of saying the same. */
export function strategyOf(machine: KubernetesObject): string {
  const strategy = stringAt(machine, 'spec', 'runStrategy')
  if (strategy !== undefined) return strategy
  return valueAt(machine, 'spec', 'running') === true ? 'Always' : 'Halted'
}

function instanceOf({ store, target }: VirtualRequest): KubernetesObject | undefined {
  return store.get(resourceId(virtualMachineInstanceKind), `${target.namespace}/${target.name}`)
}

function machineConflict(name: string, why: string): StatusError {
  return new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on virtualmachine.kubevirt.io ${JSON.stringify(name)}: ${why}`,
    details: { name, group: 'kubevirt.io', kind: 'virtualmachine' },
  })
}

function reviewAccess(user: User, body: Json | undefined): JsonObject {
  const spec = objectAt(body, 'spec')
  if (spec === undefined) throw badRequest('spec is required')
  const attributes = objectAt(spec, 'resourceAttributes')
  const verb = stringAt(attributes, 'verb') ?? '*'
  const allowed =
    attributes === undefined ||
    mayDo(user, {
      verb,
      group: stringAt(attributes, 'group') ?? '',
      resource: stringAt(attributes, 'resource') ?? '*',
      subresource: stringAt(attributes, 'subresource') ?? '',
      namespace: stringAt(attributes, 'namespace') ?? '',
      name: stringAt(attributes, 'name') ?? '',
    })
  return {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    metadata: { creationTimestamp: null },
    spec,
    status: { allowed, reason: allowed ? '' : 'no rule of the token allows it' },
  }
}

function finalizeNamespace(target: RequestTarget, body: Json | undefined, writer: ObjectWriter): JsonObject {
  if (!isObject(body)) throw badRequest('the object provided is unrecognized (must be of type object)')
  const change = (draft: KubernetesObject): void => {
    draft['spec'] = objectAt(body, 'spec') ?? {}
  }
  const live = writer.live(namespaceKind, target)
  const updated = writer.edit(namespaceKind, target, change, { manager: 'finalize' }) ?? live
  return isFinished(updated) && finalizersOf(updated).length === 0 ? { ...updated, spec: {} } : updated
}
