import { explainRequestSchema, explainSchema, policySchema } from '../../contract/approval.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import type { Services } from '../services.ts'
import { explainPolicy } from '../explain-policy.ts'
import { findOperation } from './operations.ts'

const historyLength = 50

/** The active policy, and what it would make of a request. */
export function policyRoutes(app: App, services: Services): void {
  app.get(
    '/policies',
    {
      config: { permission: 'policies.read' },
      schema: { summary: 'The active policy', response: { 200: policySchema } },
    },
    async () => {
      const { policy, version } = services.policies.active()
      const history = await services.policies.history(historyLength)
      return {
        version,
        digest: policy.digest,
        source: policy.source,
        rules: policy.rules.map((rule) => ({ ...rule })),
        history: history.map(({ version, digest, loaded_by, loaded_at }) => ({
          version,
          digest,
          loaded_by,
          loaded_at: loaded_at.toISOString(),
        })),
      }
    },
  )

  app.post(
    '/policies/explain',
    {
      config: { permission: 'policies.read' },
      schema: {
        summary: 'Which rule a request of yours would meet',
        body: explainRequestSchema,
        response: { 200: explainSchema },
      },
    },
    (request) => {
      const { operation, input } = findOperation(services, request.body)
      return explainPolicy(services, { operation, input, caller: callerOf(request) })
    },
  )
}
