import assert from 'node:assert/strict'
import { at, nameOf } from '../api-client.ts'
import { expectFailure, expectStatus, list, text, uidOf, versionOf, type ConformanceCase } from '../conformance-case.ts'

const area = 'create, read, update, delete'

export const crudCases: readonly ConformanceCase[] = [
  {
    area,
    title: 'create answers 201 with uid, times, version, generation and managed fields',
    async run(cluster) {
      const created = await cluster.createWidget()
      assert.match(uidOf(created), /^[0-9a-f-]{36}$/)
      assert.match(text(at(created, 'metadata', 'creationTimestamp')), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
      assert.match(versionOf(created), /^\d+$/)
      assert.equal(at(created, 'metadata', 'generation'), 1)
      assert.equal(at(created, 'metadata', 'managedFields', 0, 'operation'), 'Update')
      assert.equal(at(created, 'status'), undefined)
    },
  },
  {
    area,
    title: 'create of an existing name answers 409 AlreadyExists',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      const body = cluster.configMap(nameOf(created))
      expectFailure(await cluster.api.call('POST', cluster.configMaps, { body }), 409, 'AlreadyExists')
    },
  },
  {
    area,
    title: 'generateName makes a name',
    async run(cluster) {
      const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { generateName: 'made-' } }
      const created = expectStatus(await cluster.api.call('POST', cluster.configMaps, { body }), 201).body
      assert.match(nameOf(created), /^made-[a-z0-9]{5}$/)
    },
  },
  {
    area,
    title: 'an invalid name answers 422 with the field as cause',
    async run(cluster) {
      const body = cluster.configMap('Not_A_Name')
      const status = expectFailure(await cluster.api.call('POST', cluster.configMaps, { body }), 422, 'Invalid')
      assert.equal(at(status, 'details', 'causes', 0, 'field'), 'metadata.name')
      assert.equal(at(status, 'details', 'causes', 0, 'reason'), 'FieldValueInvalid')
    },
  },
  {
    area,
    title: 'a body of another kind or version answers 400',
    async run(cluster) {
      const other = { ...cluster.configMap(cluster.name()), kind: 'Secret' }
      expectFailure(await cluster.api.call('POST', cluster.configMaps, { body: other }), 400, 'BadRequest')
      const version = { ...cluster.configMap(cluster.name()), apiVersion: 'v2' }
      expectFailure(await cluster.api.call('POST', cluster.configMaps, { body: version }), 400, 'BadRequest')
    },
  },
  {
    area,
    title: 'a body in another namespace than the path answers 400',
    async run(cluster) {
      const body = cluster.configMap(cluster.name(), {}, { namespace: 'elsewhere' })
      expectFailure(await cluster.api.call('POST', cluster.configMaps, { body }), 400, 'BadRequest')
    },
  },
  {
    area,
    title: 'create in a namespace that is not there answers 404',
    async run(cluster) {
      const body = cluster.configMap(cluster.name())
      const answer = await cluster.api.call('POST', '/api/v1/namespaces/never-made/configmaps', { body })
      const status = expectFailure(answer, 404, 'NotFound')
      assert.equal(status['message'], 'namespaces "never-made" not found')
    },
  },
  {
    area,
    title: 'get of a missing object answers 404 with name and kind',
    async run(cluster) {
      const status = expectFailure(await cluster.api.call('GET', `${cluster.widgets}/missing`), 404, 'NotFound')
      assert.equal(status['message'], 'widgets.conformance.sluice.dev "missing" not found')
      assert.deepEqual(status['details'], { name: 'missing', group: 'conformance.sluice.dev', kind: 'widgets' })
    },
  },
  {
    area,
    title: 'replace with a stale resourceVersion answers 409 Conflict',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      const path = `${cluster.configMaps}/${nameOf(created)}`
      const changed = { ...created, data: { key: 'second' } }
      const second = expectStatus(await cluster.api.call('PUT', path, { body: changed }), 200).body
      assert.notEqual(versionOf(second), versionOf(created))
      const stale = { ...created, data: { key: 'third' } }
      const status = expectFailure(await cluster.api.call('PUT', path, { body: stale }), 409, 'Conflict')
      assert.match(text(status['message']), /the object has been modified/)
    },
  },
  {
    area,
    title: 'a custom resource cannot be replaced without a resourceVersion',
    async run(cluster) {
      const created = await cluster.createWidget()
      const body = cluster.widget(nameOf(created), { size: 2 })
      const answer = await cluster.api.call('PUT', `${cluster.widgets}/${nameOf(created)}`, { body })
      const status = expectFailure(answer, 422, 'Invalid')
      assert.equal(at(status, 'details', 'causes', 0, 'field'), 'metadata.resourceVersion')
    },
  },
  {
    area,
    title: 'replace with another uid answers 409 Conflict',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      const uid = '00000000-0000-0000-0000-000000000000'
      const body = cluster.configMap(nameOf(created), { key: 'other' }, { uid })
      const answer = await cluster.api.call('PUT', `${cluster.configMaps}/${nameOf(created)}`, { body })
      const status = expectFailure(answer, 409, 'Conflict')
      assert.match(text(status['message']), /Precondition failed: UID in precondition/)
    },
  },
  {
    area,
    title: 'an update that changes nothing keeps the resourceVersion',
    async run(cluster) {
      const created = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(created)}`
      const again = expectStatus(await cluster.api.call('PUT', path, { body: created }), 200).body
      assert.equal(versionOf(again), versionOf(created))
      const patched = await cluster.patch(path, { spec: { size: 1 } }, { type: 'merge' })
      assert.equal(versionOf(expectStatus(patched, 200).body), versionOf(created))
    },
  },
  {
    area,
    title: 'the generation counts changes of the specification only',
    async run(cluster) {
      const created = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(created)}`
      const labelled = await cluster.patch(path, { metadata: { labels: { a: 'b' } } }, { type: 'merge' })
      assert.equal(at(expectStatus(labelled, 200).body, 'metadata', 'generation'), 1)
      const resized = await cluster.patch(path, { spec: { size: 2 } }, { type: 'merge' })
      assert.equal(at(expectStatus(resized, 200).body, 'metadata', 'generation'), 2)
      const status = await cluster.patch(`${path}/status`, { status: { replicas: 2 } }, { type: 'merge' })
      assert.equal(at(expectStatus(status, 200).body, 'metadata', 'generation'), 2)
    },
  },
  {
    area,
    title: 'status is written through its subresource alone, and the specification beside it',
    async run(cluster) {
      const created = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(created)}`
      const main = await cluster.patch(path, { spec: { size: 3 }, status: { replicas: 9 } }, { type: 'merge' })
      assert.equal(at(expectStatus(main, 200).body, 'status', 'replicas'), undefined)
      const patch = { spec: { size: 7 }, status: { replicas: 3 } }
      const { body } = expectStatus(await cluster.patch(`${path}/status`, patch, { type: 'merge' }), 200)
      assert.equal(at(body, 'status', 'replicas'), 3)
      assert.equal(at(body, 'spec', 'size'), 3)
    },
  },
  {
    area,
    title: 'JSON patch changes, tests and refuses',
    async run(cluster) {
      const created = await cluster.createWidget({ size: 1, words: ['a', 'c'] })
      const path = `${cluster.widgets}/${nameOf(created)}`
      const patch = [
        { op: 'test', path: '/spec/size', value: 1 },
        { op: 'replace', path: '/spec/size', value: 4 },
        { op: 'add', path: '/spec/words/1', value: 'b' },
      ]
      const { body } = expectStatus(await cluster.patch(path, patch, { type: 'json' }), 200)
      assert.equal(at(body, 'spec', 'size'), 4)
      assert.deepEqual(at(body, 'spec', 'words'), ['a', 'b', 'c'])
      expectFailure(await cluster.patch(path, patch, { type: 'json' }), 422, 'Invalid')
    },
  },
  {
    area,
    title: 'strategic merge patch works on built-in kinds and answers 415 on custom resources',
    async run(cluster) {
      const created = await cluster.createConfigMap({ a: '1', b: '2' })
      const patch = { data: { a: null, c: '3' } }
      const path = `${cluster.configMaps}/${nameOf(created)}`
      const { body } = expectStatus(await cluster.patch(path, patch, { type: 'strategic-merge' }), 200)
      assert.deepEqual(body['data'], { b: '2', c: '3' })
      const widget = await cluster.createWidget()
      const answer = await cluster.patch(`${cluster.widgets}/${nameOf(widget)}`, {}, { type: 'strategic-merge' })
      expectFailure(answer, 415, 'UnsupportedMediaType')
    },
  },
  {
    area,
    title: 'a patch with a stale resourceVersion answers 409, and another uid 422',
    async run(cluster) {
      const created = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(created)}`
      const stale = { metadata: { resourceVersion: '1' }, spec: { size: 5 } }
      expectFailure(await cluster.patch(path, stale, { type: 'merge' }), 409, 'Conflict')
      const other = { metadata: { uid: '00000000-0000-0000-0000-000000000000' } }
      expectFailure(await cluster.patch(path, other, { type: 'merge' }), 422, 'Invalid')
    },
  },
  {
    area,
    title: 'dryRun=All validates, answers the result and keeps nothing',
    async run(cluster) {
      const name = cluster.name()
      const query = { dryRun: 'All' }
      const body = cluster.widget(name)
      const created = expectStatus(await cluster.api.call('POST', cluster.widgets, { body, query }), 201).body
      assert.equal(at(created, 'spec', 'color'), 'grey')
      expectFailure(await cluster.api.call('GET', `${cluster.widgets}/${name}`), 404, 'NotFound')
      const kept = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(kept)}`
      expectStatus(await cluster.patch(path, { spec: { size: 9 } }, { type: 'merge', query }), 200)
      expectStatus(await cluster.api.call('DELETE', path, { query }), 200)
      const after = expectStatus(await cluster.api.call('GET', path), 200).body
      assert.equal(versionOf(after), versionOf(kept))
      expectFailure(
        await cluster.api.call('POST', cluster.widgets, { body, query: { dryRun: 'Some' } }),
        422,
        'Invalid',
      )
    },
  },
  {
    area,
    title: 'the scale subresource reads and writes the number of replicas',
    async run(cluster) {
      const created = await cluster.createWidget({ size: 3 })
      const path = `${cluster.widgets}/${nameOf(created)}`
      const scale = expectStatus(await cluster.api.call('GET', `${path}/scale`), 200).body
      assert.equal(scale['kind'], 'Scale')
      assert.equal(at(scale, 'spec', 'replicas'), 3)
      const patch = { spec: { replicas: 8 } }
      expectStatus(await cluster.patch(`${path}/scale`, patch, { type: 'merge' }), 200)
      const { body } = expectStatus(await cluster.api.call('GET', path), 200)
      assert.equal(at(body, 'spec', 'size'), 8)
      assert.equal(at(body, 'metadata', 'generation'), 2)
    },
  },
  {
    area,
    title: 'a Table has columns and rows, and PartialObjectMetadata only metadata',
    async run(cluster) {
      const created = await cluster.createWidget({ size: 6 })
      const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json'
      const path = `${cluster.widgets}/${nameOf(created)}`
      const table = expectStatus(await cluster.api.call('GET', path, { accept }), 200).body
      assert.equal(table['kind'], 'Table')
      const columns = list(table['columnDefinitions']).map((column) => at(column, 'name'))
      assert.deepEqual(columns.slice(0, 3), ['Name', 'Size', 'Ready'])
      assert.deepEqual(list(at(table, 'rows', 0, 'cells')).slice(0, 2), [nameOf(created), 6])
      const partial = 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'
      const { body } = expectStatus(await cluster.api.call('GET', path, { accept: partial }), 200)
      assert.equal(body['kind'], 'PartialObjectMetadata')
      assert.equal(body['spec'], undefined)
      assert.equal(uidOf(body), uidOf(created))
    },
  },
  {
    area,
    title: 'a secret is written as text and read as base64',
    async run(cluster) {
      const name = cluster.name()
      const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData: { password: 'open sesame' } }
      const path = `/api/v1/namespaces/${cluster.namespace}/secrets`
      const created = expectStatus(await cluster.api.call('POST', path, { body }), 201).body
      assert.equal(created['stringData'], undefined)
      assert.equal(at(created, 'data', 'password'), Buffer.from('open sesame').toString('base64'))
      assert.equal(created['type'], 'Opaque')
    },
  },
]
