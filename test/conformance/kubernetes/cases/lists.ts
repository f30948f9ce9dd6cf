import assert from 'node:assert/strict'
import { at, nameOf, type JsonObject } from '../api-client.ts'
import {
  expectFailure,
  expectStatus,
  list,
  text,
  versionOf,
  type ConformanceCase,
  type ConformanceCluster,
} from '../conformance-case.ts'

const area = 'lists'

/** Objects that carry a label of their own, so that other cases do not get in the way. */
async function createLabelled(cluster: ConformanceCluster, count: number): Promise<string> {
  const run = cluster.name('run')
  for (let index = 0; index < count; index += 1) {
    const tier = index % 2 === 0 ? 'even' : 'odd'
    await cluster.createConfigMap({ index: String(index) }, { labels: { run, tier } })
  }
  return run
}

async function names(cluster: ConformanceCluster, query: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const { body } = expectStatus(await cluster.api.call('GET', cluster.configMaps, { query }), 200)
  // Items of a list are objects.
  return list(body['items']).map((item) => nameOf(item as JsonObject))
}

export const listCases: readonly ConformanceCase[] = [
  {
    area,
    title: 'label selectors: equality, inequality, sets and presence',
    async run(cluster) {
      const run = await createLabelled(cluster, 4)
      const count = async (selector: string): Promise<number> =>
        (await names(cluster, { labelSelector: `run=${run},${selector}` })).length
      assert.equal(await count('tier=even'), 2)
      assert.equal(await count('tier!=even'), 2)
      assert.equal(await count('tier in (even,odd)'), 4)
      assert.equal(await count('tier notin (even)'), 2)
      assert.equal(await count('tier'), 4)
      assert.equal(await count('!tier'), 0)
    },
  },
  {
    area,
    title: 'a label selector that makes no sense answers 400',
    async run(cluster) {
      const answer = await cluster.api.call('GET', cluster.configMaps, { query: { labelSelector: 'a=b=c,,(' } })
      expectFailure(answer, 400, 'BadRequest')
    },
  },
  {
    area,
    title: 'field selectors: the name always, others where the kind declares them, else 400',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      assert.deepEqual(await names(cluster, { fieldSelector: `metadata.name=${nameOf(created)}` }), [nameOf(created)])
      const green = await cluster.createWidget({ size: 1, color: 'green' })
      const query = { fieldSelector: 'spec.color=green' }
      const { body } = expectStatus(await cluster.api.call('GET', cluster.widgets, { query }), 200)
      // Items of a list are objects.
      assert.ok(list(body['items']).some((item) => nameOf(item as JsonObject) === nameOf(green)))
      assert.ok(list(body['items']).every((item) => at(item, 'spec', 'color') === 'green'))
      const unknown = await cluster.api.call('GET', cluster.widgets, { query: { fieldSelector: 'spec.size=1' } })
      assert.match(text(expectFailure(unknown, 400, 'BadRequest')['message']), /field label not supported/)
    },
  },
  {
    area,
    title: 'pages cover everything once and show one moment',
    async run(cluster) {
      const run = await createLabelled(cluster, 5)
      const selector = { labelSelector: `run=${run}`, limit: '2' }
      const first = expectStatus(await cluster.api.call('GET', cluster.configMaps, { query: selector }), 200).body
      assert.equal(list(first['items']).length, 2)
      // Made between two pages, and so on no page.
      await cluster.createConfigMap({}, { labels: { run, tier: 'late' } })
      // Items of a list are objects.
      const seen = list(first['items']).map((item) => nameOf(item as JsonObject))
      let token = at(first, 'metadata', 'continue')
      while (typeof token === 'string' && token !== '') {
        const query = { ...selector, continue: token }
        const page = expectStatus(await cluster.api.call('GET', cluster.configMaps, { query }), 200).body
        assert.equal(versionOf(page), versionOf(first))
        for (const item of list(page['items'])) seen.push(nameOf(item as JsonObject))
        token = at(page, 'metadata', 'continue')
      }
      assert.equal(seen.length, 5)
      assert.equal(new Set(seen).size, 5)
    },
  },
  {
    area,
    title: 'a page without selectors says how many remain',
    async run(cluster) {
      await createLabelled(cluster, 3)
      const { body } = expectStatus(await cluster.api.call('GET', cluster.configMaps, { query: { limit: '1' } }), 200)
      assert.ok(Number(at(body, 'metadata', 'remainingItemCount')) >= 2)
    },
  },
  {
    area,
    title: 'a continue token that is none answers 400',
    async run(cluster) {
      const query = { limit: '1', continue: 'nonsense' }
      expectFailure(await cluster.api.call('GET', cluster.configMaps, { query }), 400, 'BadRequest')
    },
  },
  {
    area,
    title: 'an exact list shows the past',
    async run(cluster) {
      const created = await cluster.createConfigMap({ state: 'before' })
      const path = `${cluster.configMaps}/${nameOf(created)}`
      expectStatus(await cluster.patch(path, { data: { state: 'after' } }, { type: 'merge' }), 200)
      const query = {
        resourceVersion: versionOf(created),
        resourceVersionMatch: 'Exact',
        fieldSelector: `metadata.name=${nameOf(created)}`,
      }
      const { body } = expectStatus(await cluster.api.call('GET', cluster.configMaps, { query }), 200)
      assert.equal(at(body, 'items', 0, 'data', 'state'), 'before')
      assert.equal(versionOf(body), versionOf(created))
    },
  },
  {
    area,
    title: 'an exact list of a compacted version answers 410 Expired',
    async run(cluster) {
      const query = { resourceVersion: '1', resourceVersionMatch: 'Exact' }
      expectFailure(await cluster.api.call('GET', cluster.configMaps, { query }), 410, 'Expired')
    },
  },
  {
    area,
    title: 'a list at a future version answers 504 ResourceVersionTooLarge',
    async run(cluster) {
      const { body } = expectStatus(await cluster.api.call('GET', cluster.configMaps, { query: { limit: '1' } }), 200)
      const future = String(Number(versionOf(body)) + 10_000_000)
      for (const match of ['', 'NotOlderThan']) {
        const query = { resourceVersion: future, ...(match === '' ? {} : { resourceVersionMatch: match }) }
        const status = expectFailure(await cluster.api.call('GET', cluster.configMaps, { query }), 504, 'Timeout')
        assert.equal(at(status, 'details', 'causes', 0, 'reason'), 'ResourceVersionTooLarge')
      }
    },
  },
  {
    area,
    title: 'resourceVersionMatch needs a resourceVersion',
    async run(cluster) {
      const query = { resourceVersionMatch: 'Exact' }
      expectFailure(await cluster.api.call('GET', cluster.configMaps, { query }), 422, 'Invalid')
    },
  },
  {
    area,
    title: 'a list names the kind of its items once',
    async run(cluster) {
      await cluster.createWidget()
      const { body } = expectStatus(await cluster.api.call('GET', cluster.widgets), 200)
      assert.equal(body['kind'], 'WidgetList')
      const everywhere = await cluster.api.call('GET', '/apis/conformance.sluice.dev/v1/widgets')
      assert.ok(list(expectStatus(everywhere, 200).body['items']).length > 0)
    },
  },
]
