import type { Explanation } from '../contract/approval.ts'
import type { Operation } from '../operations/define-operation.ts'
import { explainRequest } from '../tasks/gate.ts'
import type { Caller } from '../identity/principal.ts'
import type { Services } from './services.ts'

/** What policy would make of a request of the caller's, now. */
export async function explainPolicy(
  services: Services,
  { operation, input, caller }: { readonly operation: Operation; readonly input: unknown; readonly caller: Caller },
): Promise<Explanation> {
  const { principal, tenant } = caller
  const active = services.policies.active()
  const { verdict, environment } = await explainRequest(services.database, active, {
    operation,
    input,
    tenant,
    person: principal,
    places: services.places,
  })
  const { outcome, rule, explain } = verdict
  return { outcome, rule, explain, environment, policy_version: active.version }
}
