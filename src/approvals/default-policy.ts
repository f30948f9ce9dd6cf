/** What holds until a policy is given: changes in `prod` need one approver, nothing elsewhere does. */
export const defaultPolicy = `version: 1
environments:
  - environment: prod
    organizations: [prod]
default_environment: test
strictest_environment: prod
rules:
  - name: changes-in-prod
    when: environment == "prod" && action in ["create", "modify", "delete"]
    approval:
      quorum: 1
      from: { roles: [approver, admin] }
      expires_in: 7d
  - name: everything-else
    allow: true
tests:
  - name: making something in prod needs an approval
    given: { operation: project.create, input: { name: acme, organization: prod }, environment: prod }
    expect: { outcome: approval, rule: changes-in-prod }
  - name: deleting something in prod needs an approval
    given: { operation: project.delete, input: { name: acme }, environment: prod }
    expect: { outcome: approval, rule: changes-in-prod }
  - name: tests are free
    given: { operation: project.create, input: { name: acme, organization: test }, environment: test }
    expect: { outcome: allow, rule: everything-else }
`
