import type { Transaction } from '../database/database.ts'
import type { Operation } from '../operations/define-operation.ts'
import { hiddenSecret, NoSecretKeyError, type SecretBox } from '../platform/secret-box.ts'
import {
  deleteScheduleSecrets,
  insertScheduleSecrets,
  insertTaskSecrets,
  type SealedInput,
  selectInputSecrets,
} from './secret-input.sql.ts'

export interface InputSecret {
  /** RFC 6901. */
  readonly pointer: string
  readonly value: string
}

/** The secrets in an input, and the input without them. */
export function takeSecrets(
  operation: Pick<Operation, 'secrets'>,
  input: unknown,
): { readonly shown: unknown; readonly secrets: readonly InputSecret[] } {
  const pointers = operation.secrets?.(input) ?? []
  if (pointers.length === 0) return { shown: input, secrets: [] }
  const shown: unknown = structuredClone(input)
  const secrets = pointers.flatMap((pointer) => {
    const value = replaceAt(shown, pointer, hiddenSecret)
    return typeof value === 'string' ? [{ pointer, value }] : []
  })
  return { shown, secrets }
}

/** The input with its secrets where they were. */
export function putSecrets(shown: unknown, secrets: readonly InputSecret[]): unknown {
  if (secrets.length === 0) return shown
  const input: unknown = structuredClone(shown)
  for (const { pointer, value } of secrets) replaceAt(input, pointer, value)
  return input
}

/** A task's or a schedule's secret input is not kept any more, or never was. */
export class SecretInputGoneError extends Error {
  readonly code = 'secret_gone'
  readonly retryable = false
}

export interface SecretOwner {
  readonly tenant: string
  /** UUID of the task or the schedule. */
  readonly id: string
}

/** What the sealed text belongs to: it opens for its own task, in its own tenant, at its own place. */
const sealedInputFor = ({ tenant, id }: SecretOwner, pointer: string): string => `input/${tenant}/${id}${pointer}`

export interface OwnedInput {
  readonly owner: SecretOwner
  readonly operation: Operation
  readonly input: unknown
}

/** Keeps the secrets of tasks that were accepted in this transaction. @throws NoSecretKeyError */
export async function keepTaskSecrets(
  tx: Transaction,
  box: SecretBox | undefined,
  accepted: readonly OwnedInput[],
): Promise<void> {
  const sealed = accepted.flatMap((one) => seal(box, one))
  if (sealed.length > 0) await insertTaskSecrets(tx, sealed)
}

/**
 * Keeps the secrets of a schedule in the place of those it had; one that is sent back hidden, as it is shown, stays.
 * @throws NoSecretKeyError
 */
export async function keepScheduleSecrets(
  tx: Transaction,
  box: SecretBox | undefined,
  schedule: OwnedInput,
): Promise<void> {
  const { secrets } = takeSecrets(schedule.operation, schedule.input)
  const kept = secrets.filter(({ value }) => value === hiddenSecret).map(({ pointer }) => pointer)
  await deleteScheduleSecrets(tx, schedule.owner.id, kept)
  const sealed = seal(box, schedule).filter(({ pointer }) => !kept.includes(pointer))
  if (sealed.length > 0) await insertScheduleSecrets(tx, sealed)
}

function seal(box: SecretBox | undefined, { owner, operation, input }: OwnedInput): SealedInput[] {
  const { secrets } = takeSecrets(operation, input)
  if (secrets.length > 0 && !box) throw new NoSecretKeyError()
  return secrets.map(({ pointer, value }) => ({
    owner_id: owner.id,
    tenant_id: owner.tenant,
    pointer,
    sealed: box?.seal(value, sealedInputFor(owner, pointer)) ?? '',
  }))
}

/** The secrets of inputs as they were kept, by the id of their owner. @throws SecretInputGoneError, NoSecretKeyError */
export async function openSecrets(
  tx: Transaction,
  box: SecretBox | undefined,
  owned: readonly OwnedInput[],
): Promise<ReadonlyMap<string, readonly InputSecret[]>> {
  const withSecrets = owned.filter(({ operation, input }) => takeSecrets(operation, input).secrets.length > 0)
  if (withSecrets.length === 0) return new Map()
  if (!box) throw new NoSecretKeyError()
  const rows = await selectInputSecrets(
    tx,
    withSecrets.map(({ owner }) => owner.id),
  )
  return new Map(
    withSecrets.map(({ owner, operation, input }) => [
      owner.id,
      takeSecrets(operation, input).secrets.map(({ pointer }) => {
        const row = rows.find((one) => one.owner_id === owner.id && one.pointer === pointer)
        if (!row)
          throw new SecretInputGoneError(`The secret at ${pointer} is not kept any more. Ask for the change anew.`)
        return { pointer, value: box.open(row.sealed, sealedInputFor(owner, pointer)) }
      }),
    ]),
  )
}

/** An input as it is kept, with its secrets where they were. @throws SecretInputGoneError, NoSecretKeyError */
export async function openInput(tx: Transaction, box: SecretBox | undefined, owned: OwnedInput): Promise<unknown> {
  return putSecrets(owned.input, (await openSecrets(tx, box, [owned])).get(owned.owner.id) ?? [])
}

/** Puts a value at a pointer, and returns what was there; undefined where there is no such place. */
function replaceAt(root: unknown, pointer: string, value: string): unknown {
  const keys = pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
  const last = keys.pop()
  let place: unknown = root
  for (const key of keys) place = isObject(place) ? place[key] : undefined
  if (last === undefined || !isObject(place) || !Object.hasOwn(place, last)) return undefined
  const before = place[last]
  place[last] = value
  return before
}

// An array, too: its indices are its keys.
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
