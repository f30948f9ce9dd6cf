import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Operation } from '../operations/define-operation.ts'
import { takeSecrets } from '../tasks/secret-input.ts'
import { withoutSecrets } from '../tasks/without-secrets.ts'
import { callerOf } from './authenticate.ts'
import { explainPolicy, refuseOutside } from './explain-policy.ts'
import { HttpProblem } from './problems.ts'
import { currentFlags } from './operation-flags.ts'
import type { Services } from './services.ts'
import { clusterCheck, recordsOf } from './submit.ts'

export const dryRunSchema = z.object({
  valid: z.literal(true),
  diff: z.string().describe('What would change, line by line; empty when nothing would'),
  warnings: z.array(z.string()),
  approval: z.object({
    required: z.boolean(),
    rule: z.string(),
    explain: z.string().describe('Which rule of the policy the change would meet, and why'),
  }),
})

const dryRunMs = 10_000

export interface DryRunRequest {
  readonly request: FastifyRequest
  readonly operation: Operation
  readonly input: unknown
  /** Whether the caller would ask for the change. Who reads about somebody else's may not have to. @default false */
  readonly asking?: boolean
}

/** Asks the cluster what it would make of the change (`dryRun=All`). Writes nothing. */
export async function runDry(services: Services, { request, operation, input, asking = false }: DryRunRequest) {
  const caller = callerOf(request)
  const { tenant } = caller
  const flags = await currentFlags(services, caller, operation)
  await clusterCheck(services, tenant)({ operation, input })
  await operation.precheck?.(input, recordsOf(services, tenant))
  if (asking) await refuseOutside(services, { operation, input, caller })
  if (!operation.dryRun) {
    throw new HttpProblem('dry_run_unsupported', {
      detail: `${operation.type} cannot say beforehand what it would do.`,
    })
  }
  const { outcome, rule, explain } = await explainPolicy(services, { operation, input, caller })
  const approval = { required: outcome === 'approval', rule, explain }
  const { secrets } = takeSecrets(operation, input)
  const signal = AbortSignal.timeout(dryRunMs)
  try {
    const { diff, warnings } = await operation.dryRun(
      { tenant, signal, flags, cluster: (name) => services.cluster(tenant, name) },
      input,
    )
    return withoutSecrets({ valid: true as const, diff, warnings: [...warnings], approval }, secrets)
  } catch (error) {
    const retryable = error instanceof Error && 'retryable' in error && error.retryable === true
    const detail = withoutSecrets(error instanceof Error ? error.message : String(error), secrets)
    throw new HttpProblem(retryable || signal.aborted ? 'cluster_unreachable' : 'dry_run_refused', {
      detail,
      cause: error,
    })
  }
}
