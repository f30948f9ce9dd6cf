import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { type ApiClient, at, type Json } from '../api-client.ts'
import {
  expectFailure,
  expectStatus,
  group,
  list,
  sortedTexts,
  text,
  type ConformanceCase,
} from '../conformance-case.ts'

const area = 'discovery'

export const discoveryCases: readonly ConformanceCase[] = [
  {
    area,
    title: '/version says which server this is',
    async run({ api }) {
      const { body } = expectStatus(await api.call('GET', '/version'), 200)
      assert.match(text(body['gitVersion']), /^v1\.\d+/)
    },
  },
  {
    area,
    title: '/api and /apis answer plain lists',
    async run({ api }) {
      const core = expectStatus(await api.call('GET', '/api'), 200).body
      assert.equal(core['kind'], 'APIVersions')
      assert.deepEqual(core['versions'], ['v1'])
      const groups = expectStatus(await api.call('GET', '/apis'), 200).body
      assert.equal(groups['kind'], 'APIGroupList')
      assert.ok(list(groups['groups']).some((entry) => at(entry, 'name') === group))
    },
  },
  {
    area,
    title: '/apis answers aggregated discovery when it is asked for',
    async run({ api }) {
      const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json'
      const answer = expectStatus(await api.call('GET', '/apis', { accept }), 200)
      assert.equal(answer.body['kind'], 'APIGroupDiscoveryList')
      assert.match(answer.contentType, /as=APIGroupDiscoveryList/)
      const own = list(answer.body['items']).find((item) => at(item, 'metadata', 'name') === group)
      const widgets = list(at(own, 'versions', 0, 'resources')).find((entry) => at(entry, 'resource') === 'widgets')
      assert.equal(at(widgets, 'scope'), 'Namespaced')
      assert.equal(at(widgets, 'responseKind', 'kind'), 'Widget')
      const below = sortedTexts(list(at(widgets, 'subresources')), 'subresource')
      assert.deepEqual(below, ['scale', 'status'])
    },
  },
  {
    area,
    title: 'a group version lists its resources and subresources',
    async run({ api }) {
      const { body } = expectStatus(await api.call('GET', `/apis/${group}/v1`), 200)
      const names = sortedTexts(list(body['resources']), 'name')
      assert.deepEqual(names, ['widgets', 'widgets/scale', 'widgets/status'])
      const widgets = list(body['resources']).find((entry) => at(entry, 'name') === 'widgets')
      assert.deepEqual(at(widgets, 'shortNames'), ['wd'])
      for (const verb of ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']) {
        assert.ok(list(at(widgets, 'verbs')).includes(verb), `verb ${verb}`)
      }
    },
  },
  {
    area,
    title: 'OpenAPI v3 describes a kind with the schema of its definition',
    async run({ api }) {
      const widget = await publishedSchema(api)
      assert.equal(at(widget, 'properties', 'spec', 'properties', 'size', 'type'), 'integer')
    },
  },
  {
    area,
    title: 'what a group of the server does not have answers 404 with a Status',
    async run({ api, namespace }) {
      for (const path of [`/api/v1/namespaces/${namespace}/gadgets`, '/apis/apps/v1/gadgets', '/apis/apps/v9']) {
        expectFailure(await api.call('GET', path), 404, 'NotFound')
      }
    },
  },
  {
    area,
    title: 'what a defined group does not have, and a group that nobody defined, answer 404 without a Status',
    async run({ api, namespace }) {
      const paths = [
        `/apis/${group}/v1/namespaces/${namespace}/gadgets`,
        `/apis/${group}/v9`,
        '/apis/nobody.example/v1',
      ]
      for (const path of paths) {
        const answer = expectStatus(await api.call('GET', path), 404)
        assert.match(answer.contentType, /^text\/plain/)
        assert.equal(answer.text, '404 page not found\n')
      }
    },
  },
]

const publishedWithinMs = 60_000

/** A server publishes what a definition adds some time after it serves it. */
async function publishedSchema(api: ApiClient): Promise<Json | undefined> {
  const deadline = Date.now() + publishedWithinMs
  for (;;) {
    const index = expectStatus(await api.call('GET', '/openapi/v3'), 200).body
    const url = at(index, 'paths', `apis/${group}/v1`, 'serverRelativeURL')
    const document = typeof url === 'string' ? (await api.call('GET', url)).body : {}
    const schemas = Object.values(at(document, 'components', 'schemas') ?? {})
    const widget = schemas.find((schema) => at(schema, 'x-kubernetes-group-version-kind', 0, 'kind') === 'Widget')
    if (widget !== undefined || Date.now() > deadline) return widget
    await setTimeout(200)
  }
}
