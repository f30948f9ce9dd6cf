import { createHash } from 'node:crypto'
import { Environment, type ParseResult } from '@marcbachmann/cel-js'
import canonicalize from 'canonicalize'
import {
  parsePolicyDocument,
  type PolicyDocument,
  PolicyError,
  type PolicyIssue,
  type PolicyRule,
  type PolicyTest,
} from './policy-document.ts'

/** Where a target is: what configuration maps to an environment. */
export interface Placement {
  readonly cluster: string | null
  readonly namespace: string | null
  readonly organization: string | null
}

export type Action = 'create' | 'modify' | 'delete' | 'run'

/** Everything that a rule's condition may look at. */
export interface PolicyFacts {
  readonly operation: string
  readonly action: Action
  readonly input: unknown
  readonly requester: { readonly name: string; readonly roles: readonly string[]; readonly groups: readonly string[] }
  readonly tenant: string
  readonly environment: string
  readonly cluster: string | null
  readonly now: Date
}

export interface Stage {
  readonly name: string
  /** Approvals of different people that the stage needs. */
  readonly quorum: number
  readonly roles: readonly string[]
  readonly groups: readonly string[]
}

export type Verdict = { readonly rule: string; readonly ruleDigest: string; readonly explain: string } & (
  | { readonly outcome: 'allow' }
  | { readonly outcome: 'deny'; readonly reason: string }
  | { readonly outcome: 'approval'; readonly stages: readonly Stage[]; readonly expiresInMs: number }
)

export interface Policy {
  readonly source: string
  /** SHA-256 of the source. */
  readonly digest: string
  readonly limits: PolicyDocument['limits']
  readonly quotas: PolicyDocument['quotas']
  readonly rules: readonly {
    readonly name: string
    readonly when: string | null
    readonly outcome: Verdict['outcome']
  }[]
  readonly tests: readonly PolicyTest[]
  /** Undefined: nobody knows where the target is, and the strictest environment's rules hold. */
  environmentOf(placement: Placement | undefined): string
  readonly strictestEnvironment: string
  evaluate(facts: PolicyFacts): Verdict
}

const cel = new Environment({
  unlistedVariablesAreDyn: false,
  limits: { maxAstNodes: 500, maxDepth: 50, maxListElements: 200, maxMapEntries: 100, maxCallArguments: 10 },
})
  .registerVariable('operation', 'string')
  .registerVariable('action', 'string')
  .registerVariable('input', 'map')
  .registerVariable('requester', 'map')
  .registerVariable('tenant', 'string')
  .registerVariable('environment', 'string')
  .registerVariable('cluster', 'string')
  .registerVariable('now', 'google.protobuf.Timestamp')

/** Reads and checks a policy: its YAML, its shape and its conditions. @throws PolicyError */
export function compilePolicy(source: string): Policy {
  const document = parsePolicyDocument(source)
  const issues: PolicyIssue[] = []
  const rules = document.rules.map((rule, i) => {
    const { condition, problem } = compileCondition(rule.when)
    if (problem !== undefined) issues.push({ pointer: `/rules/${i}/when`, message: problem })
    return { rule, condition, digest: sha256(canonicalize(rule) ?? '') }
  })
  if (issues.length > 0) throw new PolicyError(issues)
  const strictest = document.strictest_environment
  return {
    source,
    digest: sha256(source),
    limits: document.limits,
    quotas: document.quotas,
    rules: document.rules.map((rule) => ({ name: rule.name, when: rule.when ?? null, outcome: outcomeOf(rule) })),
    tests: document.tests,
    strictestEnvironment: strictest,
    environmentOf: (placement) => (placement ? mapEnvironment(document, placement) : strictest),
    evaluate: (facts) => evaluate(rules, facts),
  }
}

function compileCondition(text: string | undefined): { condition?: ParseResult; problem?: string } {
  if (text === undefined) return {}
  try {
    const condition = cel.parse(text)
    const checked = condition.check()
    if (!checked.valid) return { problem: firstLine(checked.error) }
    if (checked.type !== 'bool' && checked.type !== 'dyn') {
      return { problem: `gives a ${checked.type}, not true or false` }
    }
    return { condition }
  } catch (error) {
    return { problem: firstLine(error) }
  }
}

function mapEnvironment(document: PolicyDocument, placement: Placement): string {
  const names = (list: readonly string[] | undefined, value: string | null) =>
    list === undefined || (value !== null && list.includes(value))
  const entry = document.environments.find(
    ({ clusters, namespaces, organizations }) =>
      names(clusters, placement.cluster) &&
      names(namespaces, placement.namespace) &&
      names(organizations, placement.organization),
  )
  return entry?.environment ?? document.default_environment
}

interface CompiledRule {
  readonly rule: PolicyRule
  readonly condition?: ParseResult | undefined
  readonly digest: string
}

function evaluate(rules: readonly CompiledRule[], facts: PolicyFacts): Verdict {
  const context = { ...facts, cluster: facts.cluster ?? '' }
  for (const { rule, condition, digest } of rules) {
    const { met, why } = meets(rule, condition, context)
    if (!met) continue
    const about = { rule: rule.name, ruleDigest: digest }
    if (rule.deny !== undefined) {
      return {
        ...about,
        outcome: 'deny',
        reason: rule.deny,
        explain: `Rule ${rule.name} denies (${why}): ${rule.deny}`,
      }
    }
    if (rule.approval) {
      const stages = rule.approval.stages.map(({ name, quorum, from }) => ({ name, quorum, ...from }))
      const needs = stages.map(describeStage).join(', then ')
      const explain = `Rule ${rule.name} asks for ${needs} (${why}).`
      return { ...about, outcome: 'approval', stages, expiresInMs: rule.approval.expiresInMs, explain }
    }
    return { ...about, outcome: 'allow', explain: `Rule ${rule.name} allows it (${why}).` }
  }
  const reason = 'No rule of the policy speaks of this change.'
  return { rule: 'no-rule', ruleDigest: sha256('no-rule'), outcome: 'deny', reason, explain: reason }
}

// A condition that cannot be decided never opens a door: an allow is passed by, a deny or an approval is met.
function meets(rule: PolicyRule, condition: ParseResult | undefined, context: Record<string, unknown>) {
  if (!condition) return { met: true, why: 'it has no condition' }
  try {
    const value: unknown = condition(context)
    if (typeof value === 'boolean') return { met: value, why: rule.when ?? '' }
    return undecided(rule, `gave ${typeof value}, not true or false`)
  } catch (error) {
    return undecided(rule, firstLine(error))
  }
}

function undecided(rule: PolicyRule, problem: string) {
  return { met: rule.allow === undefined, why: `its condition cannot be decided: ${problem}` }
}

/** `2 approvals by role approver or group release`. */
export function describeStage({ quorum, roles, groups }: Stage): string {
  const who = [...roles.map((role) => `role ${role}`), ...groups.map((group) => `group ${group}`)].join(' or ')
  return `${quorum === 1 ? 'one approval' : `${quorum} approvals`} by ${who}`
}

/** Whom to tell that a stage waits for them. */
export const deciders = ({ roles, groups }: Stage): string[] => [
  ...roles.map((role) => `role:${role}`),
  ...groups.map((group) => `group:${group}`),
]

/** Runs the examples that a policy brings. Returns what went otherwise; empty when all hold. */
export function testPolicy(policy: Policy): { readonly name: string; readonly message: string }[] {
  return policy.tests.flatMap(({ name, given, expect }) => {
    const verdict = policy.evaluate({
      ...given,
      action: actionOf(given.operation),
      requester: given.requester ?? { name: 'somebody', roles: ['requester'], groups: [] },
      environment: given.environment ?? policy.environmentOf(undefined),
      now: given.now === undefined ? new Date() : new Date(given.now),
    })
    const asExpected = verdict.outcome === expect.outcome && (expect.rule === undefined || expect.rule === verdict.rule)
    if (asExpected) return []
    const wanted = `${expect.outcome}${expect.rule === undefined ? '' : ` by ${expect.rule}`}`
    return [{ name, message: `expected ${wanted}, was ${verdict.outcome} by ${verdict.rule}` }]
  })
}

/** What an operation does to its target, by the verb of its type. */
export function actionOf(operation: string, hasTarget = true): Action {
  if (!hasTarget) return 'run'
  const verb = operation.slice(operation.lastIndexOf('.') + 1)
  return verb === 'create' || verb === 'delete' ? verb : 'modify'
}

function outcomeOf(rule: PolicyRule): Verdict['outcome'] {
  if (rule.allow) return 'allow'
  return rule.deny === undefined ? 'approval' : 'deny'
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? 'cannot be read'
