import assert from 'node:assert/strict'
import { at } from '../api-client.ts'
import { expectFailure, expectStatus, text, type ConformanceCase } from '../conformance-case.ts'

const area = 'access'

export const accessCases: readonly ConformanceCase[] = [
  {
    area,
    title: 'a wrong token answers 401 Unauthorized',
    async run(cluster) {
      const headers = { authorization: 'Bearer not-a-token' }
      expectFailure(
        await cluster.api.call('GET', cluster.configMaps, { headers, anonymous: true }),
        401,
        'Unauthorized',
      )
    },
  },
  {
    area,
    title: 'what a user may not do answers 403 and says who, what and where',
    async run(cluster) {
      const headers = { 'impersonate-user': 'sluice-conformance-nobody' }
      const answer = await cluster.api.call('GET', cluster.widgets, { headers })
      const status = expectFailure(answer, 403, 'Forbidden')
      assert.match(
        text(status['message']),
        new RegExp(
          `^widgets\\.conformance\\.sluice\\.dev is forbidden: User "sluice-conformance-nobody" cannot list resource "widgets" in API group "conformance\\.sluice\\.dev" in the namespace "${cluster.namespace}"`,
        ),
      )
      const body = cluster.widget(cluster.name())
      expectFailure(await cluster.api.call('POST', cluster.widgets, { body, headers }), 403, 'Forbidden')
    },
  },
  {
    area,
    title: 'anybody may ask what they may do',
    async run(cluster) {
      const body = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: { namespace: cluster.namespace, verb: 'create', resource: 'configmaps' } },
      }
      const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
      const mine = expectStatus(await cluster.api.call('POST', path, { body }), 201).body
      assert.equal(at(mine, 'status', 'allowed'), true)
      const headers = { 'impersonate-user': 'sluice-conformance-nobody' }
      const theirs = expectStatus(await cluster.api.call('POST', path, { body, headers }), 201).body
      assert.equal(at(theirs, 'status', 'allowed'), false)
    },
  },
  {
    area,
    title: 'a method that a resource does not have answers 405',
    async run(cluster) {
      expectFailure(await cluster.api.call('PUT', cluster.configMaps, { body: {} }), 405, 'MethodNotAllowed')
    },
  },
]
