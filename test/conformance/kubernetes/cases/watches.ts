import assert from 'node:assert/strict'
import { at, nameOf } from '../api-client.ts'
import {
  expectFailure,
  expectStatus,
  text,
  versionOf,
  type ConformanceCase,
  type ConformanceCluster,
} from '../conformance-case.ts'

const area = 'watches'

async function currentVersion(cluster: ConformanceCluster): Promise<string> {
  const { body } = expectStatus(await cluster.api.call('GET', cluster.configMaps, { query: { limit: '1' } }), 200)
  return versionOf(body)
}

export const watchCases: readonly ConformanceCase[] = [
  {
    area,
    title: 'a watch from a list sees what comes after it, in order',
    async run(cluster) {
      const watch = await cluster.api.watch(cluster.configMaps, { resourceVersion: await currentVersion(cluster) })
      const created = await cluster.createConfigMap()
      const path = `${cluster.configMaps}/${nameOf(created)}`
      expectStatus(await cluster.patch(path, { data: { a: 'b' } }, { type: 'merge' }), 200)
      expectStatus(await cluster.api.call('DELETE', path), 200)
      await watch.find(({ type, object }) => type === 'DELETED' && nameOf(object) === nameOf(created))
      watch.close()
      const own = watch.events.filter(({ object }) => nameOf(object) === nameOf(created))
      assert.deepEqual(
        own.map(({ type }) => type),
        ['ADDED', 'MODIFIED', 'DELETED'],
      )
      const versions = own.map(({ object }) => Number(versionOf(object)))
      assert.deepEqual(
        versions,
        versions.toSorted((left, right) => left - right),
      )
    },
  },
  {
    area,
    title: 'a watch without a version begins with what is there',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      const watch = await cluster.api.watch(cluster.configMaps)
      const first = await watch.find(({ object }) => nameOf(object) === nameOf(created))
      watch.close()
      assert.equal(first.type, 'ADDED')
    },
  },
  {
    area,
    title: 'a watch at an old version replays what it missed',
    async run(cluster) {
      const version = await currentVersion(cluster)
      const created = await cluster.createConfigMap()
      const watch = await cluster.api.watch(cluster.configMaps, { resourceVersion: version })
      assert.equal((await watch.find(({ object }) => nameOf(object) === nameOf(created))).type, 'ADDED')
      watch.close()
    },
  },
  {
    area,
    title: 'a watch older than the history answers 200 and an ERROR event 410',
    async run(cluster) {
      const watch = await cluster.api.watch(cluster.configMaps, { resourceVersion: '1' })
      assert.equal(watch.status, 200)
      const { object } = await watch.find(({ type }) => type === 'ERROR')
      assert.equal(object['code'], 410)
      assert.equal(object['reason'], 'Expired')
      await watch.untilClosed()
    },
  },
  {
    area,
    title: 'a watch at a future version answers 200 and stays silent',
    async run(cluster) {
      const version = await currentVersion(cluster)
      const future = await cluster.api.watch(cluster.configMaps, {
        resourceVersion: String(Number(version) + 10_000_000),
      })
      const present = await cluster.api.watch(cluster.configMaps, { resourceVersion: version })
      const created = await cluster.createConfigMap()
      await present.find(({ object }) => nameOf(object) === nameOf(created))
      assert.equal(future.status, 200)
      assert.deepEqual(future.events, [])
      assert.equal(future.closed, false)
      future.close()
      present.close()
    },
  },
  {
    area,
    title: 'sendInitialEvents sends the state and ends it with an annotated bookmark',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      const watch = await cluster.api.watch(cluster.configMaps, {
        sendInitialEvents: 'true',
        resourceVersionMatch: 'NotOlderThan',
        allowWatchBookmarks: 'true',
      })
      const end = await watch.find(({ type }) => type === 'BOOKMARK')
      watch.close()
      assert.equal(at(end.object, 'metadata', 'annotations', 'k8s.io/initial-events-end'), 'true')
      assert.ok(Number(versionOf(end.object)) >= Number(versionOf(created)))
      const before = watch.events.slice(0, watch.events.indexOf(end))
      assert.ok(before.some(({ type, object }) => type === 'ADDED' && nameOf(object) === nameOf(created)))
      assert.ok(before.every(({ type }) => type === 'ADDED'))
    },
  },
  {
    area,
    title: 'sendInitialEvents without resourceVersionMatch answers 422',
    async run(cluster) {
      const query = { watch: 'true', sendInitialEvents: 'true', allowWatchBookmarks: 'true' }
      expectFailure(await cluster.api.call('GET', cluster.configMaps, { query }), 422, 'Invalid')
    },
  },
  {
    area,
    title: 'a bookmark comes within 90 s, with a version and nothing else',
    async run(cluster) {
      const query = { allowWatchBookmarks: 'true', resourceVersion: await currentVersion(cluster) }
      const watch = await cluster.api.watch(cluster.configMaps, query)
      const { object } = await watch.find(({ type }) => type === 'BOOKMARK', 90_000)
      watch.close()
      assert.equal(object['kind'], 'ConfigMap')
      assert.match(versionOf(object), /^\d+$/)
      assert.equal(object['data'], undefined)
    },
  },
  {
    area,
    title: 'timeoutSeconds ends the watch cleanly',
    async run(cluster) {
      const watch = await cluster.api.watch(cluster.configMaps, { timeoutSeconds: '1' })
      await watch.untilClosed()
      assert.ok(watch.events.every(({ type }) => type !== 'ERROR'))
    },
  },
  {
    area,
    title: 'an object that enters or leaves the selection is ADDED or DELETED',
    async run(cluster) {
      const tag = cluster.name('tag')
      const created = await cluster.createConfigMap({ a: '1' })
      const path = `${cluster.configMaps}/${nameOf(created)}`
      const query = { labelSelector: `tag=${tag}`, resourceVersion: await currentVersion(cluster) }
      const watch = await cluster.api.watch(cluster.configMaps, query)
      for (const labels of [{ tag }, { tag, more: 'x' }, { tag: null }]) {
        expectStatus(await cluster.patch(path, { metadata: { labels } }, { type: 'merge' }), 200)
      }
      const left = await watch.find(({ type }) => type === 'DELETED')
      watch.close()
      assert.deepEqual(
        watch.events.map(({ type }) => type),
        ['ADDED', 'MODIFIED', 'DELETED'],
      )
      // As it was while it belonged to the selection, under the version at which it left.
      assert.equal(at(left.object, 'metadata', 'labels', 'tag'), tag)
      const now = expectStatus(await cluster.api.call('GET', path), 200).body
      assert.equal(versionOf(left.object), versionOf(now))
    },
  },
  {
    area,
    title: 'a watch of one object by field selector sees only that one',
    async run(cluster) {
      const mine = await cluster.createConfigMap()
      const query = { fieldSelector: `metadata.name=${nameOf(mine)}`, resourceVersion: await currentVersion(cluster) }
      const watch = await cluster.api.watch(cluster.configMaps, query)
      await cluster.createConfigMap()
      expectStatus(await cluster.api.call('DELETE', `${cluster.configMaps}/${nameOf(mine)}`), 200)
      await watch.find(({ type }) => type === 'DELETED')
      watch.close()
      assert.equal(watch.events.length, 1)
    },
  },
  {
    area,
    title: 'a watch as Table sends tables, the columns with the first alone',
    async run(cluster) {
      const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io'
      const query = { resourceVersion: await currentVersion(cluster) }
      const watch = await cluster.api.watch(cluster.configMaps, query, accept)
      const first = await cluster.createConfigMap()
      const second = await cluster.createConfigMap()
      const rowOf = (name: string) => watch.find(({ object }) => at(object, 'rows', 0, 'cells', 0) === name)
      const tables = [(await rowOf(nameOf(first))).object, (await rowOf(nameOf(second))).object]
      watch.close()
      assert.equal(text(tables[0]?.['kind']), 'Table')
      assert.ok(at(tables[0], 'columnDefinitions', 0, 'name') === 'Name')
      assert.equal(at(tables[1], 'columnDefinitions', 0), undefined)
    },
  },
]
