import assert from 'node:assert/strict'
import { at, nameOf } from '../api-client.ts'
import { expectFailure, expectStatus, uidOf, versionOf, type ConformanceCase } from '../conformance-case.ts'

const area = 'deletion'
const finalizer = 'conformance.sluice.dev/hold'
const nobody = '00000000-0000-0000-0000-000000000000'

export const deletionCases: readonly ConformanceCase[] = [
  {
    area,
    title: 'delete answers a Status with the uid, and the object is gone',
    async run(cluster) {
      const created = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(created)}`
      const { body } = expectStatus(await cluster.api.call('DELETE', path), 200)
      assert.equal(body['status'], 'Success')
      assert.equal(at(body, 'details', 'uid'), uidOf(created))
      expectFailure(await cluster.api.call('GET', path), 404, 'NotFound')
      expectFailure(await cluster.api.call('DELETE', path), 404, 'NotFound')
    },
  },
  {
    area,
    title: 'preconditions on uid and resourceVersion answer 409',
    async run(cluster) {
      const created = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(created)}`
      const options = (preconditions: Record<string, string>) => ({
        body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions },
      })
      expectFailure(await cluster.api.call('DELETE', path, options({ uid: nobody })), 409, 'Conflict')
      expectFailure(await cluster.api.call('DELETE', path, options({ resourceVersion: '1' })), 409, 'Conflict')
      const both = options({ uid: uidOf(created), resourceVersion: versionOf(created) })
      expectStatus(await cluster.api.call('DELETE', path, both), 200)
    },
  },
  {
    area,
    title: 'options that contradict each other answer 422',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: 'Background',
        orphanDependents: true,
      }
      const answer = await cluster.api.call('DELETE', `${cluster.configMaps}/${nameOf(created)}`, { body })
      expectFailure(answer, 422, 'Invalid')
    },
  },
  {
    area,
    title: 'a finalizer keeps the object; deletion raises the generation; the last finalizer lets it go',
    async run(cluster) {
      const created = await cluster.createWidget({ size: 1 }, { finalizers: [finalizer] })
      const path = `${cluster.widgets}/${nameOf(created)}`
      const { body } = expectStatus(await cluster.api.call('DELETE', path), 200)
      assert.equal(body['kind'], 'Widget')
      assert.notEqual(at(body, 'metadata', 'deletionTimestamp'), undefined)
      assert.equal(at(body, 'metadata', 'deletionGracePeriodSeconds'), 0)
      assert.equal(at(body, 'metadata', 'generation'), 2)
      const again = expectStatus(await cluster.api.call('DELETE', path), 200).body
      assert.equal(versionOf(again), versionOf(body))
      const watch = await cluster.api.watch(cluster.widgets, { resourceVersion: versionOf(again) })
      expectStatus(await cluster.patch(path, { metadata: { finalizers: null } }, { type: 'merge' }), 200)
      await watch.find(({ type, object }) => type === 'DELETED' && nameOf(object) === nameOf(created))
      watch.close()
      expectFailure(await cluster.api.call('GET', path), 404, 'NotFound')
    },
  },
  {
    area,
    title: 'a terminating object takes no new finalizers',
    async run(cluster) {
      const created = await cluster.createWidget({ size: 1 }, { finalizers: [finalizer] })
      const path = `${cluster.widgets}/${nameOf(created)}`
      expectStatus(await cluster.api.call('DELETE', path), 200)
      const more = { metadata: { finalizers: [finalizer, 'conformance.sluice.dev/other'] } }
      expectFailure(await cluster.patch(path, more, { type: 'merge' }), 422, 'Invalid')
      expectStatus(await cluster.patch(path, { metadata: { finalizers: null } }, { type: 'merge' }), 200)
    },
  },
  {
    area,
    title: 'a name is free again after deletion, for another uid',
    async run(cluster) {
      const created = await cluster.createWidget()
      expectStatus(await cluster.api.call('DELETE', `${cluster.widgets}/${nameOf(created)}`), 200)
      const body = cluster.widget(nameOf(created))
      const again = expectStatus(await cluster.api.call('POST', cluster.widgets, { body }), 201).body
      assert.notEqual(uidOf(again), uidOf(created))
    },
  },
  {
    area,
    title: 'the default namespace cannot be deleted',
    async run(cluster) {
      const query = { dryRun: 'All' }
      expectFailure(await cluster.api.call('DELETE', '/api/v1/namespaces/default', { query }), 403, 'Forbidden')
    },
  },
  {
    area,
    title: 'a namespace that is being deleted takes no new objects',
    async run(cluster) {
      const name = cluster.name('ns')
      const metadata = { name, finalizers: [finalizer] }
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata }
      expectStatus(await cluster.api.call('POST', '/api/v1/namespaces', { body: namespace }), 201)
      const path = `/api/v1/namespaces/${name}`
      const { body } = expectStatus(await cluster.api.call('DELETE', path), 200)
      assert.equal(at(body, 'status', 'phase'), 'Terminating')
      const late = { body: cluster.configMap('late') }
      const status = expectFailure(await cluster.api.call('POST', `${path}/configmaps`, late), 403, 'Forbidden')
      assert.equal(at(status, 'details', 'causes', 0, 'reason'), 'NamespaceTerminating')
      const query = { fieldSelector: `metadata.name=${name}` }
      const watch = await cluster.api.watch('/api/v1/namespaces', query)
      expectStatus(await cluster.patch(path, { metadata: { finalizers: null } }, { type: 'merge' }), 200)
      await watch.find(({ type }) => type === 'DELETED', 60_000)
      watch.close()
    },
  },
  {
    area,
    title: 'a collection is deleted by selector',
    async run(cluster) {
      const run = cluster.name('run')
      const kept = await cluster.createConfigMap({}, { labels: { run, keep: 'yes' } })
      await cluster.createConfigMap({}, { labels: { run } })
      await cluster.createConfigMap({}, { labels: { run } })
      const query = { labelSelector: `run=${run},!keep` }
      expectStatus(await cluster.api.call('DELETE', cluster.configMaps, { query }), 200)
      const left = await cluster.api.call('GET', cluster.configMaps, { query: { labelSelector: `run=${run}` } })
      assert.deepEqual(at(expectStatus(left, 200).body, 'items', 0, 'metadata', 'name'), nameOf(kept))
      assert.equal(at(left.body, 'items', 1), undefined)
    },
  },
  {
    area,
    title: 'what an object owns goes with it',
    async run(cluster) {
      const owner = await cluster.createConfigMap()
      const reference = { apiVersion: 'v1', kind: 'ConfigMap', name: nameOf(owner), uid: uidOf(owner) }
      const owned = await cluster.createConfigMap({}, { ownerReferences: [reference] })
      const watch = await cluster.api.watch(cluster.configMaps, { resourceVersion: versionOf(owned) })
      const query = { propagationPolicy: 'Background' }
      expectStatus(await cluster.api.call('DELETE', `${cluster.configMaps}/${nameOf(owner)}`, { query }), 200)
      await watch.find(({ type, object }) => type === 'DELETED' && nameOf(object) === nameOf(owned), 60_000)
      watch.close()
    },
  },
  {
    area,
    title: 'foreground deletion takes the owned objects first, orphaning leaves them',
    async run(cluster) {
      for (const policy of ['Foreground', 'Orphan'] as const) {
        const owner = await cluster.createConfigMap()
        const reference = {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          name: nameOf(owner),
          uid: uidOf(owner),
          blockOwnerDeletion: true,
        }
        const owned = await cluster.createConfigMap({}, { ownerReferences: [reference] })
        const watch = await cluster.api.watch(cluster.configMaps, { resourceVersion: versionOf(owned) })
        const path = `${cluster.configMaps}/${nameOf(owner)}`
        expectStatus(await cluster.api.call('DELETE', path, { query: { propagationPolicy: policy } }), 200)
        await watch.find(({ type, object }) => type === 'DELETED' && nameOf(object) === nameOf(owner), 60_000)
        watch.close()
        const left = await cluster.api.call('GET', `${cluster.configMaps}/${nameOf(owned)}`)
        if (policy === 'Foreground') expectFailure(left, 404, 'NotFound')
        else assert.equal(at(expectStatus(left, 200).body, 'metadata', 'ownerReferences'), undefined)
      }
    },
  },
]
