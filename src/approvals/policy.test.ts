import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { defaultPolicy } from './default-policy.ts'
import { actionOf, compilePolicy, type PolicyFacts, testPolicy } from './policy.ts'
import { PolicyError } from './policy-document.ts'

const facts = (fields: Partial<PolicyFacts> = {}): PolicyFacts => ({
  operation: 'project.create',
  action: 'create',
  input: { name: 'acme', size: 3 },
  requester: { name: 'rita', roles: ['requester'], groups: ['web'] },
  tenant: 'default',
  environment: 'test',
  cluster: 'default',
  now: new Date('2030-01-02T03:04:05Z'),
  ...fields,
})

const withRules = (rules: string) => compilePolicy(`version: 1\nrules:\n${rules}`)
const issuesOf = (text: string) => {
  try {
    compilePolicy(text)
    return []
  } catch (error) {
    if (error instanceof PolicyError) return error.issues
    throw error
  }
}

describe('policy: ordered rules, first match wins', () => {
  test('the default policy holds what it says, and its own examples', () => {
    const policy = compilePolicy(defaultPolicy)
    expect(testPolicy(policy)).toEqual([])
    expect(policy.environmentOf({ cluster: 'default', namespace: null, organization: 'prod' })).toBe('prod')
    expect(policy.environmentOf({ cluster: 'default', namespace: null, organization: 'acme' })).toBe('test')
    expect(policy.environmentOf(undefined)).toBe('prod')
    expect(policy.evaluate(facts({ environment: 'prod', action: 'modify' })).outcome).toBe('approval')
    expect(policy.evaluate(facts({ environment: 'test', action: 'delete' })).outcome).toBe('allow')
  })

  test('the example of the page about approvals is one, and holds its own examples', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/approvals.md'), 'utf8')
    const policy = compilePolicy(/```yaml\n([^]*?)```/.exec(page)?.[1] ?? '')
    expect(policy.rules.length).toBeGreaterThan(3)
    expect(policy.tests.length).toBeGreaterThan(1)
    expect(testPolicy(policy)).toEqual([])
  })

  test('an earlier rule hides a later one; without any match the answer is no', () => {
    const policy = withRules(`
  - { name: freeze, when: 'now >= timestamp("2030-01-01T00:00:00Z") && tenant == "default"', deny: Frozen. }
  - { name: rest, allow: true }`)
    expect(policy.evaluate(facts())).toMatchObject({ outcome: 'deny', rule: 'freeze', reason: 'Frozen.' })
    expect(policy.evaluate(facts({ now: new Date('2029-12-31T23:59:59Z') }))).toMatchObject({ rule: 'rest' })
    expect(withRules(`  - { name: a, when: 'false', allow: true }`).evaluate(facts()).outcome).toBe('deny')
  })

  test.each([
    [`operation == "project.create"`, true],
    [`operation.startsWith("vm.")`, false],
    [`input.size > 2 && input.name.matches("^ac")`, true],
    [`"requester" in requester.roles && "web" in requester.groups && requester.name == "rita"`, true],
    [`environment == "test" && cluster == "default"`, true],
    [`now.getHours("Europe/Berlin") == 4`, true],
    [`has(input.gone) && input.gone == 1`, false],
  ])('a condition looks at everything it should: %s', (when, met) => {
    const policy = withRules(`  - { name: it, when: ${JSON.stringify(when)}, allow: true }`)
    expect(policy.evaluate(facts()).outcome).toBe(met ? 'allow' : 'deny')
  })

  test('a condition that cannot be decided never opens a door', () => {
    const when = 'input.missing == "x"'
    expect(withRules(`  - { name: a, when: '${when}', allow: true }`).evaluate(facts()).outcome).toBe('deny')
    const held = withRules(`  - { name: a, when: '${when}', approval: {} }\n  - { name: b, allow: true }`)
    expect(held.evaluate(facts())).toMatchObject({
      outcome: 'approval',
      explain: expect.stringMatching(/cannot be decided/),
    })
  })

  test('quorum, groups, stages and expiry arrive as written', () => {
    const policy = withRules(`
  - name: two-stages
    approval:
      expires_in: 90m
      stages:
        - { name: team, quorum: 2, from: { groups: [web] } }
        - { name: security, from: { roles: [admin] } }`)
    expect(policy.evaluate(facts())).toMatchObject({
      expiresInMs: 5_400_000,
      stages: [
        { name: 'team', quorum: 2, groups: ['web'], roles: [] },
        { name: 'security', quorum: 1, roles: ['admin'], groups: [] },
      ],
      explain:
        'Rule two-stages asks for 2 approvals by group web, then one approval by role admin (it has no condition).',
    })
  })

  test('a rule has a digest of its own, whatever stands around it', () => {
    const digest = (text: string) => withRules(text).evaluate(facts()).ruleDigest
    const one = digest(`  - { name: a, approval: { quorum: 1 } }`)
    expect(digest(`  - { name: z, when: 'false', allow: true }\n  - { approval: { quorum: 1 }, name: a }`)).toBe(one)
    expect(digest(`  - { name: a, approval: { quorum: 2 } }`)).not.toBe(one)
  })
})

describe('policy: a mistake is found before it is active', () => {
  test.each([
    ['rules: []', '/version'],
    ['version: 1\nrules: []', '/rules'],
    ['version: 1\nrules: [{ name: a }]', '/rules/0'],
    ['version: 1\nrules: [{ name: a, allow: true, deny: no }]', '/rules/0'],
    ['version: 1\nrules: [{ name: a, allow: true, colour: red }]', '/rules/0'],
    ['version: 1\nrules: [{ name: a, when: "operation ==", allow: true }]', '/rules/0/when'],
    ['version: 1\nrules: [{ name: a, when: "opertion == \\"x\\"", allow: true }]', '/rules/0/when'],
    ['version: 1\nrules: [{ name: a, when: "operation == 3", allow: true }]', '/rules/0/when'],
    ['version: 1\nrules: [{ name: a, when: "operation", allow: true }]', '/rules/0/when'],
    ['version: 1\nrules: [{ name: a, approval: { expires_in: soon } }]', '/rules/0/approval/expires_in'],
    ['version: 1\nrules: [{ name: a, approval: { quorum: 0 } }]', '/rules/0/approval/quorum'],
    ['version: 1\nrules: [{ name: a, approval: { from: { roles: [] } } }]', '/rules/0/approval/from'],
    ['version: 1\nrules: [{ name: a, allow: true }, { name: a, allow: true }]', '/rules/1/name'],
    ['version: 1\nenvironments: [{ environment: prod }]\nrules: [{ name: a, allow: true }]', '/environments/0'],
    ['version: 1\nversion: 1\nrules: [{ name: a, allow: true }]', ''],
    ['{', ''],
  ])('%s', (text, pointer) => {
    expect(issuesOf(text).map((issue) => issue.pointer)).toContain(pointer)
  })

  test('an alias bomb is refused', () => {
    const lines = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}, *a${i}, *a${i}, *a${i}]`)
    expect(issuesOf(`a0: &a0 [x]\n${lines.join('\n')}`)).toHaveLength(1)
  })

  test('an example that does not hold is told', () => {
    const policy = compilePolicy(
      defaultPolicy.replace('expect: { outcome: allow, rule: everything-else }', 'expect: { outcome: deny }'),
    )
    expect(testPolicy(policy)).toEqual([
      { name: 'tests are free', message: 'expected deny, was allow by everything-else' },
    ])
  })

  test('the verb of an operation tells what it does', () => {
    expect(['vm.create', 'vm.delete', 'vm.start', 'project.modify'].map((type) => actionOf(type))).toEqual([
      'create',
      'delete',
      'modify',
      'modify',
    ])
    expect(actionOf('analysis.run', false)).toBe('run')
  })
})
