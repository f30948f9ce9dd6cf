import { z } from 'zod'
import { checkExpression } from './readiness-expression.ts'

/** How much a condition must prove that it speaks of our change. */
export const freshnessSchema = z.enum(['strict', 'ifPresent', 'ignore'])
export type Freshness = z.infer<typeof freshnessSchema>

const conditionRuleSchema = z.strictObject({
  type: z.string().min(1).max(316),
  status: z.enum(['True', 'False', 'Unknown']).optional().describe('@default True'),
})

const failureRuleSchema = z.strictObject({
  reason: z.string().min(1).max(1024).describe('Reason of a condition, exactly'),
  condition: z.string().min(1).max(316).optional().describe('Only on this condition; any by default'),
  graceMs: z
    .number()
    .int()
    .min(0)
    .max(86_400_000)
    .optional()
    .describe('How long it must last until it is a failure. @default 15000'),
})

const expressionSchema = z
  .string()
  .min(1)
  .max(4096)
  .superRefine((expression, context) => {
    const problem = checkExpression(expression)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: `is no usable CEL expression: ${problem}` })
  })

/**
 * When an object counts as ready, and when as failed. Plain JSON: it is stored with a durable wait, and users send it
 * with `resource.apply`.
 */
export const readinessRulesSchema = z.strictObject({
  preset: z
    .enum(['Deployment', 'Job', 'Pod', 'VirtualMachine'])
    .optional()
    .describe('What a built-in kind needs besides conditions'),
  absent: z.literal(true).optional().describe('Ready when the object is gone: waits for a deletion'),
  conditions: z.array(conditionRuleSchema).max(20).optional().describe('All of these'),
  freshness: freshnessSchema
    .optional()
    .describe(
      'strict: observedGeneration must be there and have reached ours · ifPresent: when it is there · ignore: never asked. @default ifPresent',
    ),
  failureReasons: z.array(failureRuleSchema).max(100).optional(),
  progressReasons: z
    .array(z.string().min(1).max(1024))
    .max(100)
    .optional()
    .describe('Never a failure, whatever else says so'),
  ready: expressionSchema.optional().describe('CEL over `object`; ready when this holds too'),
  failed: expressionSchema.optional().describe('CEL over `object`; a failure when this holds for failedGraceMs'),
  failedGraceMs: z.number().int().min(0).max(86_400_000).optional().describe('@default 15000'),
})
export type ReadinessRules = z.infer<typeof readinessRulesSchema>

/** Milliseconds that a declared failure must last, unless its rule says otherwise. */
export const defaultGraceMs = 15_000

/** Ready when the object, with the pinned uid, is gone. */
export const deletionRules: ReadinessRules = { absent: true }

/** Kinds without a status: to exist is to be ready. */
export const existsRules: ReadinessRules = { freshness: 'ignore' }

/** `resourcemanager.miloapis.com` Project. Its controller stops refreshing observedGeneration once it is Ready. */
export const projectReadiness: ReadinessRules = {
  conditions: [{ type: 'Ready' }],
  freshness: 'ignore',
  progressReasons: ['Pending', 'Provisioning', 'Unknown', 'Waiting', 'Creating'],
  failureReasons: [{ condition: 'Ready', reason: 'ProjectNameConflict', graceMs: 0 }],
}

/** `dns.networking.miloapis.com` DNSZone. `Accepted=False/Pending` is its normal path. */
export const dnsZoneReadiness: ReadinessRules = {
  conditions: [{ type: 'Accepted' }, { type: 'Programmed' }],
  freshness: 'ifPresent',
  progressReasons: ['Pending'],
  failureReasons: [
    { condition: 'Accepted', reason: 'DNSZoneInUse', graceMs: 0 },
    { condition: 'Accepted', reason: 'Invalid', graceMs: 5_000 },
  ],
}

/** `kubevirt.io` VirtualMachine, by its run strategy. Its conditions carry no observedGeneration. */
export const virtualMachineReadiness: ReadinessRules = { preset: 'VirtualMachine', freshness: 'ignore' }

export const deploymentReadiness: ReadinessRules = { preset: 'Deployment', freshness: 'strict' }
export const jobReadiness: ReadinessRules = { preset: 'Job', freshness: 'ignore' }
export const podReadiness: ReadinessRules = { preset: 'Pod', freshness: 'ifPresent' }

/** Whether these rules look at more than what a slim watch keeps (`slimObject`). */
export function needsWholeObject({ ready, failed }: ReadinessRules): boolean {
  return ready !== undefined || failed !== undefined
}

const byGroupKind: Readonly<Record<string, ReadinessRules>> = {
  'resourcemanager.miloapis.com/Project': projectReadiness,
  'dns.networking.miloapis.com/DNSZone': dnsZoneReadiness,
  'kubevirt.io/VirtualMachine': virtualMachineReadiness,
  'apps/Deployment': deploymentReadiness,
  'batch/Job': jobReadiness,
  '/Pod': podReadiness,
  '/ConfigMap': existsRules,
  '/Secret': existsRules,
  '/ServiceAccount': existsRules,
  '/Namespace': existsRules,
}

/** The rules of a kind that we know; for others, condition Ready=True. */
export function rulesForKind(apiVersion: string, kind: string): ReadinessRules {
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : ''
  return byGroupKind[`${group}/${kind}`] ?? { conditions: [{ type: 'Ready' }] }
}
