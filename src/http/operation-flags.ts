import type { Operation as ListedOperation } from '../contract/operation.ts'
import type { Caller } from '../identity/principal.ts'
import type { Operation } from '../operations/define-operation.ts'
import type { FlagValue } from '../platform/feature-flags.ts'
import { offReason, pinFlags } from '../tasks/pin-flags.ts'
import { HttpProblem } from './problems.ts'
import type { Services } from './services.ts'

/** The answer to whoever asks for an operation whose flag is off. */
export function flagOff(operation: string, flag: string): HttpProblem {
  return new HttpProblem('flag_off', { detail: offReason(operation, flag), flag })
}

/** An operation's flags as they are for the caller now. Throws 403 when the one that it is behind is off. */
export async function currentFlags(
  services: Services,
  caller: Caller,
  operation: Operation,
): Promise<Readonly<Record<string, FlagValue>>> {
  const { values, off } = await pinned(services, caller, operation)
  if (off !== undefined) throw flagOff(operation.type, off)
  return values
}

/** Every operation, each with the flag that it is behind. */
export function withFlags(
  services: Services,
  caller: Caller,
): Promise<{ readonly operation: Operation; readonly flag: ListedOperation['flag'] }[]> {
  return Promise.all(
    services.operations.all().map(async (operation) => {
      if (operation.flag === undefined) return { operation, flag: null }
      const { off } = await pinned(services, caller, operation)
      return { operation, flag: { name: operation.flag, enabled: off === undefined } }
    }),
  )
}

function pinned({ featureFlags }: Services, { principal, tenant }: Caller, operation: Operation) {
  return pinFlags(featureFlags, { operation, tenant, actor: principal.name, roles: principal.roles })
}
