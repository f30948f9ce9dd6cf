import { parseDocument } from 'yaml'
import { z } from 'zod'

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens')
const names = z.array(z.string().min(1).max(255)).max(500)

const durationUnits = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `90m`, `7d` → milliseconds. */
const duration = z
  .string()
  .regex(/^[1-9]\d{0,5}[smhd]$/, 'must be a whole number and s, m, h or d, such as 7d')
  // The pattern has let through these four units only.
  .transform((text) => Number(text.slice(0, -1)) * durationUnits[text.slice(-1) as keyof typeof durationUnits])

const from = z
  .strictObject({ roles: names.default([]), groups: names.default([]) })
  .refine(({ roles, groups }) => roles.length + groups.length > 0, 'must name a role or a group')
const quorum = z.number().int().min(1).max(20)

const defaultFrom = { roles: ['approver', 'admin'], groups: [] }
const stage = z.strictObject({ name, quorum: quorum.default(1), from: from.default(defaultFrom) })

const approval = z
  .strictObject({
    quorum: quorum.optional(),
    from: from.optional(),
    stages: z.array(stage).min(1).max(10).optional(),
    expires_in: duration.default(7 * durationUnits.d),
  })
  .refine(
    ({ quorum, from, stages }) => stages === undefined || (quorum === undefined && from === undefined),
    'has either stages, each with its own quorum and from, or quorum and from',
  )
  .transform(({ quorum, from, stages, expires_in }) => ({
    stages: stages ?? [{ name: 'approval', quorum: quorum ?? 1, from: from ?? defaultFrom }],
    expiresInMs: expires_in,
  }))

const rule = z
  .strictObject({
    name,
    when: z.string().min(1).max(2_000).optional(),
    allow: z.literal(true).optional(),
    deny: z.string().min(1).max(500).optional(),
    approval: approval.optional(),
  })
  .refine(
    ({ allow, deny, approval }) => [allow, deny, approval].filter((outcome) => outcome !== undefined).length === 1,
    'must have exactly one of allow, deny and approval',
  )

const environmentEntry = z
  .strictObject({
    environment: name,
    clusters: names.optional(),
    namespaces: names.optional(),
    organizations: names.optional(),
  })
  .refine(
    ({ clusters, namespaces, organizations }) => clusters ?? namespaces ?? organizations,
    'must name clusters, namespaces or organizations',
  )

const quota = z.strictObject({
  name,
  tenants: names.min(1).optional(),
  operations: names.min(1).optional(),
  active_tasks: z.number().int().min(1).max(100_000),
})

const policyTest = z.strictObject({
  name: z.string(),
  given: z.strictObject({
    operation: z.string(),
    input: z.record(z.string(), z.unknown()).default({}),
    requester: z.strictObject({ name: z.string(), roles: names.default([]), groups: names.default([]) }).optional(),
    tenant: z.string().default('default'),
    environment: name.optional(),
    cluster: z.string().default('default'),
    now: z.iso.datetime({ offset: true }).optional(),
  }),
  expect: z.strictObject({ outcome: z.enum(['allow', 'deny', 'approval']), rule: z.string().optional() }),
})

const policyDocument = z.strictObject({
  version: z.literal(1),
  environments: z.array(environmentEntry).max(500).default([]),
  default_environment: name.default('test'),
  /** Where nobody knows where a target belongs, or two answers differ, these rules hold. */
  strictest_environment: name.default('prod'),
  limits: z
    .strictObject({
      open_tickets_per_requester: z.number().int().min(1).max(100_000).default(100),
      open_tickets_per_tenant: z.number().int().min(1).max(100_000).default(1_000),
    })
    .default({ open_tickets_per_requester: 100, open_tickets_per_tenant: 1_000 }),
  /** How many tasks a tenant may have that have not ended; each tenant for itself. */
  quotas: z
    .array(quota)
    .max(100)
    .default([])
    .refine((all) => new Set(all.map((one) => one.name)).size === all.length, 'has a name twice'),
  rules: z.array(rule).min(1).max(500),
  tests: z.array(policyTest).max(500).default([]),
})

export type PolicyDocument = z.output<typeof policyDocument>
export type PolicyRule = PolicyDocument['rules'][number]
export type PolicyTest = PolicyDocument['tests'][number]

export interface PolicyIssue {
  /** JSON pointer into the document, such as `/rules/0/when`; empty for the whole. */
  readonly pointer: string
  readonly message: string
}

/** The policy cannot be used; `issues` say where and why. Whatever was active stays active. */
export class PolicyError extends Error {
  readonly code = 'invalid_policy'
  readonly issues: readonly PolicyIssue[]
  constructor(issues: readonly PolicyIssue[]) {
    super(issues.map(({ pointer, message }) => `${pointer || 'The policy'}: ${message}`).join('\n'))
    this.issues = issues
  }
}

/** Reads a policy's YAML. @throws PolicyError */
export function parsePolicyDocument(text: string): PolicyDocument {
  if (text.length > 512 * 1024) throw new PolicyError([{ pointer: '', message: 'is longer than 512 KiB' }])
  const yaml = parseDocument(text, { strict: true, uniqueKeys: true })
  if (yaml.errors.length > 0) throw new PolicyError(yaml.errors.map(({ message }) => ({ pointer: '', message })))
  let content: unknown
  try {
    // A document of a few lines can say a billion nodes by aliases.
    content = yaml.toJS({ maxAliasCount: 50 })
  } catch (error) {
    throw new PolicyError([{ pointer: '', message: error instanceof Error ? error.message : String(error) }])
  }
  const parsed = policyDocument.safeParse(content)
  if (!parsed.success) {
    throw new PolicyError(
      parsed.error.issues.map(({ path, message }) => ({
        pointer: path.map((part) => `/${String(part)}`).join(''),
        message,
      })),
    )
  }
  refuseDuplicates(parsed.data)
  return parsed.data
}

function refuseDuplicates({ rules }: PolicyDocument): void {
  const seen = new Set<string>()
  const twice = rules.flatMap(({ name }, i) => (seen.has(name) ? [{ name, i }] : (seen.add(name), [])))
  if (twice.length === 0) return
  throw new PolicyError(
    twice.map(({ name, i }) => ({ pointer: `/rules/${i}/name`, message: `${name} is there twice` })),
  )
}
