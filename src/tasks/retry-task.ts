import { isRetryable, retryableStatuses } from '../contract/task-status.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { Standing } from '../identity/standing.ts'
import { RefusedError } from '../operations/define-operation.ts'
import type { OperationRegistry } from '../operations/registry.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { AcceptedTask, AcceptRequest, TaskAcceptor } from './accept-task.ts'
import { findRequests, type FoundRequest } from './retry-task.sql.ts'
import { openSecrets, putSecrets, SecretInputGoneError } from './secret-input.ts'

export interface RetryTaskOptions {
  readonly database: Database
  readonly operations: OperationRegistry
  readonly acceptor: TaskAcceptor
  /** Opens secrets of inputs. */
  readonly secrets?: SecretBox | undefined
}

/** With what the actor is, which policy may ask about. @default nothing */
export interface RetryRequest extends Partial<Standing> {
  readonly tenant: string
  readonly taskId: string
  readonly actor: string
}

/**
 * Asks for the same change again, as a new task that names the old one, gated by policy like any other. Undefined when the
 * tenant has no such task. Throws `RefusedError` when the task did not fail, or its operation no longer takes its input.
 */
export async function retryTask(options: RetryTaskOptions, request: RetryRequest): Promise<AcceptedTask | undefined> {
  const { tenant, taskId } = request
  const [found] = await options.database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    openRequests(tx, options, { tenant, taskIds: [taskId] }),
  )
  if (!found) return undefined
  return options.acceptor.accept(toRetry(options.operations, found, request))
}

export interface OpenedRequest extends FoundRequest {
  /** Why its secrets cannot be had. */
  readonly lost?: string
}

/** Tasks with the input that they were asked with, secrets included, in the order of the ids. */
export async function openRequests(
  tx: Transaction,
  { operations, secrets: box }: Pick<RetryTaskOptions, 'operations' | 'secrets'>,
  { tenant, taskIds }: { readonly tenant: string; readonly taskIds: readonly string[] },
): Promise<OpenedRequest[]> {
  const opened: OpenedRequest[] = []
  for (const found of await findRequests(tx, tenant, taskIds)) {
    const operation = operations.get(found.task.operation)
    const id = found.task.task_id
    try {
      const owned = operation ? [{ owner: { tenant, id }, operation, input: found.input }] : []
      const secrets = (await openSecrets(tx, box, owned)).get(id) ?? []
      opened.push({ ...found, input: putSecrets(found.input, secrets) })
    } catch (error) {
      if (!(error instanceof SecretInputGoneError)) throw error
      opened.push({ ...found, lost: error.message })
    }
  }
  return opened
}

/** The request that tries a task again. Throws `RefusedError` when it cannot be tried again. */
export function toRetry(
  operations: OperationRegistry,
  { task, input, traceparent, lost }: OpenedRequest,
  { actor, roles, groups, limits, madeBy }: Omit<RetryRequest, 'tenant' | 'taskId'>,
): AcceptRequest {
  if (!isRetryable(task.status)) {
    throw new RefusedError(
      `The task is ${task.status}: only a task that is ${retryableStatuses.join(', ')} can be tried again.`,
      { status: 409, code: 'not_retryable' },
    )
  }
  if (lost !== undefined) throw new RefusedError(lost, { status: 422, code: 'not_retryable' })
  const operation = operations.get(task.operation)
  const parsed = operation?.input.safeParse(input)
  if (!operation || !parsed?.success) {
    const why = operation ? 'no longer takes the input of this task' : 'is not offered here any more'
    throw new RefusedError(`The operation ${task.operation} ${why}. Ask for the change anew.`, {
      status: 422,
      code: 'not_retryable',
    })
  }
  return {
    operation,
    input: parsed.data,
    options: { timeout_ms: task.timeout_ms, priority: task.priority, labels: task.labels },
    tenant: task.tenant_id,
    actor,
    ...(roles && { roles }),
    ...(groups && { groups }),
    ...(limits && { limits }),
    ...(madeBy !== undefined && { madeBy }),
    retryOf: task.task_id,
    ...(traceparent !== null && { follows: traceparent }),
  }
}
