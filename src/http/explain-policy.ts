import type { Explanation } from '../contract/approval.ts'
import type { Operation } from '../operations/define-operation.ts'
import { explainRequest } from '../tasks/gate.ts'
import type { Caller } from '../identity/principal.ts'
import { HttpProblem } from './problems.ts'
import type { Services } from './services.ts'

interface Asked {
  readonly operation: Operation
  readonly input: unknown
  readonly caller: Caller
}

/** What policy would make of a request of the caller's, now. */
export async function explainPolicy(services: Services, asked: Asked): Promise<Explanation> {
  const { verdict, environment, outside, version } = await explain(services, asked)
  const { principal, permissions } = asked.caller
  const { outcome, rule, explain: why } = verdict
  const whyNot = permissions.has('tasks.request') ? outside : `${principal.name} may not ask for changes here.`
  return {
    outcome,
    rule,
    explain: why,
    environment,
    may_request: whyNot === undefined,
    why_not: whyNot ?? null,
    policy_version: version,
  }
}

/** Throws where no role of the caller's holds where the change would be. */
export async function refuseOutside(services: Services, asked: Asked): Promise<void> {
  if (!asked.caller.principal.limits) return
  const { outside } = await explain(services, asked)
  if (outside !== undefined) throw new HttpProblem('forbidden', { detail: outside })
}

async function explain({ policies, database, places }: Services, { operation, input, caller }: Asked) {
  const { principal: person, tenant } = caller
  const active = policies.active()
  const explained = await explainRequest(database, active, { operation, input, tenant, person, places })
  return { ...explained, version: active.version }
}
