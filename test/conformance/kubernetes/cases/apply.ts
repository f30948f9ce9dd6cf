import assert from 'node:assert/strict'
import { at, nameOf, type JsonObject } from '../api-client.ts'
import {
  expectFailure,
  expectStatus,
  list,
  sortedTexts,
  text,
  uidOf,
  versionOf,
  type ConformanceCase,
} from '../conformance-case.ts'

const area = 'server-side apply'
const strict = { fieldValidation: 'Strict' }

function managers(object: JsonObject): readonly string[] {
  const entries = list(at(object, 'metadata', 'managedFields'))
  return entries.map((entry) => `${text(at(entry, 'manager'))} ${text(at(entry, 'operation'))}`)
}

function fieldsOf(object: JsonObject, manager: string): JsonObject {
  const entries = list(at(object, 'metadata', 'managedFields'))
  const entry = entries.find((known) => at(known, 'manager') === manager)
  // The entry's fields are an object, or the case fails on what it looks for.
  return (at(entry, 'fieldsV1') ?? {}) as JsonObject
}

export const applyCases: readonly ConformanceCase[] = [
  {
    area,
    title: 'the first apply creates with 201, a second one answers 200',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      const query = { fieldManager: 'one', ...strict }
      const created = expectStatus(await cluster.apply(path, cluster.widget(name), query), 201).body
      assert.deepEqual(managers(created), ['one Apply'])
      assert.deepEqual(fieldsOf(created, 'one'), { 'f:spec': { 'f:size': {} } })
      expectStatus(await cluster.apply(path, cluster.widget(name, { size: 2 }), query), 200)
    },
  },
  {
    area,
    title: 'an apply that changes nothing keeps resourceVersion, generation and times',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      const query = { fieldManager: 'one', ...strict }
      const created = expectStatus(await cluster.apply(path, cluster.widget(name), query), 201).body
      const again = expectStatus(await cluster.apply(path, cluster.widget(name), query), 200).body
      assert.deepEqual(again, created)
    },
  },
  {
    area,
    title: 'apply without a field manager answers 422, force without apply too',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.configMaps}/${name}`
      const status = expectFailure(await cluster.apply(path, cluster.configMap(name), {}), 422, 'Invalid')
      assert.equal(at(status, 'details', 'causes', 0, 'field'), 'fieldManager')
      const created = await cluster.createConfigMap()
      const options = { type: 'merge', query: { force: 'true' } } as const
      const answer = await cluster.patch(`${cluster.configMaps}/${nameOf(created)}`, { data: { a: 'b' } }, options)
      expectFailure(answer, 422, 'Invalid')
    },
  },
  {
    area,
    title: 'a field that another manager set conflicts: 409 with one cause per field',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.configMaps}/${name}`
      const first = cluster.configMap(name, { a: '1', b: '1' })
      expectStatus(await cluster.apply(path, first, { fieldManager: 'one' }), 201)
      const second = cluster.configMap(name, { a: '2', b: '2' })
      const status = expectFailure(await cluster.apply(path, second, { fieldManager: 'two' }), 409, 'Conflict')
      const causes = list(at(status, 'details', 'causes'))
      assert.deepEqual(sortedTexts(causes, 'field'), ['.data.a', '.data.b'])
      assert.equal(at(causes[0], 'reason'), 'FieldManagerConflict')
      assert.match(text(at(causes[0], 'message')), /conflict with "one"/)
      assert.match(
        text(status['message']),
        /^Apply failed with 2 conflicts: conflicts with "one":\n- \.data\.a\n- \.data\.b$/,
      )
    },
  },
  {
    area,
    title: 'a conflict with an updater names its version',
    async run(cluster) {
      const name = cluster.name()
      const query = { fieldManager: 'editor' }
      const body = cluster.configMap(name, { a: '1' })
      expectStatus(await cluster.api.call('POST', cluster.configMaps, { body, query }), 201)
      const path = `${cluster.configMaps}/${name}`
      const second = cluster.configMap(name, { a: '2' })
      const status = expectFailure(await cluster.apply(path, second, { fieldManager: 'two' }), 409, 'Conflict')
      assert.match(
        text(status['message']),
        /^Apply failed with 1 conflict: conflict with "editor" using v1.*: \.data\.a$/,
      )
    },
  },
  {
    area,
    title: 'force takes the fields, and their former owner loses them',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.configMaps}/${name}`
      expectStatus(await cluster.apply(path, cluster.configMap(name, { a: '1', b: '1' }), { fieldManager: 'one' }), 201)
      const query = { fieldManager: 'two', force: 'true' }
      const { body } = expectStatus(await cluster.apply(path, cluster.configMap(name, { a: '2' }), query), 200)
      assert.deepEqual(body['data'], { a: '2', b: '1' })
      assert.deepEqual(fieldsOf(body, 'one'), { 'f:data': { 'f:b': {} } })
      assert.deepEqual(fieldsOf(body, 'two'), { 'f:data': { 'f:a': {} } })
    },
  },
  {
    area,
    title: 'the same value is shared without a conflict',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.configMaps}/${name}`
      expectStatus(await cluster.apply(path, cluster.configMap(name, { a: '1' }), { fieldManager: 'one' }), 201)
      const { body } = expectStatus(
        await cluster.apply(path, cluster.configMap(name, { a: '1' }), { fieldManager: 'two' }),
        200,
      )
      assert.deepEqual(managers(body).toSorted(), ['one Apply', 'two Apply'])
    },
  },
  {
    area,
    title: 'a field that its only owner no longer states is removed; a shared one stays',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.configMaps}/${name}`
      expectStatus(await cluster.apply(path, cluster.configMap(name, { a: '1', b: '1' }), { fieldManager: 'one' }), 201)
      expectStatus(await cluster.apply(path, cluster.configMap(name, { b: '1' }), { fieldManager: 'two' }), 200)
      const { body } = expectStatus(
        await cluster.apply(path, cluster.configMap(name, {}), { fieldManager: 'one' }),
        200,
      )
      assert.deepEqual(body['data'], { b: '1' })
    },
  },
  {
    area,
    title: 'an update takes over the fields that it changes',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      expectStatus(await cluster.apply(path, cluster.widget(name, { size: 1 }), { fieldManager: 'one' }), 201)
      const query = { fieldManager: 'editor' }
      const { body } = expectStatus(await cluster.patch(path, { spec: { size: 2 } }, { type: 'merge', query }), 200)
      assert.deepEqual(fieldsOf(body, 'one'), {})
      assert.deepEqual(fieldsOf(body, 'editor'), { 'f:spec': { 'f:size': {} } })
    },
  },
  {
    area,
    title: 'lists with keys merge item by item, sets value by value, other lists whole',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      const first = { size: 1, parts: [{ name: 'a', count: 1 }], tags: ['x'], words: ['one'] }
      expectStatus(await cluster.apply(path, cluster.widget(name, first), { fieldManager: 'one' }), 201)
      const second = {
        parts: [
          { name: 'b', count: 2 },
          { name: 'a', note: 'ours' },
        ],
        tags: ['y'],
      }
      const { body } = expectStatus(
        await cluster.apply(path, cluster.widget(name, second), { fieldManager: 'two' }),
        200,
      )
      const parts = list(at(body, 'spec', 'parts')).toSorted((l, r) =>
        text(at(l, 'name')) < text(at(r, 'name')) ? -1 : 1,
      )
      assert.deepEqual(parts, [
        { name: 'a', count: 1, note: 'ours' },
        { name: 'b', count: 2 },
      ])
      assert.deepEqual(sortedTexts(list(at(body, 'spec', 'tags'))), ['x', 'y'])
      assert.deepEqual(fieldsOf(body, 'two'), {
        'f:spec': {
          'f:parts': {
            'k:{"name":"a"}': { '.': {}, 'f:name': {}, 'f:note': {} },
            'k:{"name":"b"}': { '.': {}, 'f:count': {}, 'f:name': {} },
          },
          'f:tags': { 'v:"y"': {} },
        },
      })
      const words = await cluster.apply(path, cluster.widget(name, { words: ['two'] }), { fieldManager: 'three' })
      assert.equal(at(expectFailure(words, 409, 'Conflict'), 'details', 'causes', 0, 'field'), '.spec.words')
      const item = await cluster.apply(path, cluster.widget(name, { parts: [{ name: 'a', count: 9 }] }), {
        fieldManager: 'three',
      })
      assert.equal(
        at(expectFailure(item, 409, 'Conflict'), 'details', 'causes', 0, 'field'),
        '.spec.parts[name="a"].count',
      )
    },
  },
  {
    area,
    title: 'an item that nobody states any more leaves the list; others stay',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      const both = { parts: [{ name: 'a' }, { name: 'b' }] }
      expectStatus(await cluster.apply(path, cluster.widget(name, both), { fieldManager: 'one' }), 201)
      const one = { parts: [{ name: 'b' }] }
      const { body } = expectStatus(await cluster.apply(path, cluster.widget(name, one), { fieldManager: 'one' }), 200)
      assert.deepEqual(at(body, 'spec', 'parts'), [{ name: 'b' }])
    },
  },
  {
    area,
    title: 'an unknown field on a custom resource answers 500, strict or not',
    async run(cluster) {
      for (const validation of ['Strict', 'Warn', 'Ignore']) {
        const name = cluster.name()
        const query = { fieldManager: 'one', fieldValidation: validation }
        const body = cluster.widget(name, { size: 1, unheard: true })
        const answer = await cluster.apply(`${cluster.widgets}/${name}`, body, query)
        const status = expectFailure(answer, 500, undefined)
        assert.match(
          text(status['message']),
          /^failed to create typed patch object \(.*\): \.spec\.unheard: field not declared in schema$/,
        )
      }
    },
  },
  {
    area,
    title: 'a uid in the body is a fence: 409 when nothing is there, 422 on another object',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      const uid = '00000000-0000-0000-0000-000000000000'
      const fenced = cluster.widget(name, { size: 1 }, { uid })
      expectFailure(await cluster.apply(path, fenced, { fieldManager: 'one' }), 409, 'Conflict')
      const created = expectStatus(await cluster.apply(path, cluster.widget(name), { fieldManager: 'one' }), 201).body
      expectFailure(await cluster.apply(path, fenced, { fieldManager: 'one' }), 422, 'Invalid')
      const same = cluster.widget(name, { size: 2 }, { uid: uidOf(created) })
      expectStatus(await cluster.apply(path, same, { fieldManager: 'one' }), 200)
    },
  },
  {
    area,
    title: 'a stale resourceVersion in the body answers 409',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      expectStatus(await cluster.apply(path, cluster.widget(name), { fieldManager: 'one' }), 201)
      const stale = cluster.widget(name, { size: 2 }, { resourceVersion: '1' })
      expectFailure(await cluster.apply(path, stale, { fieldManager: 'one' }), 409, 'Conflict')
    },
  },
  {
    area,
    title: 'managedFields in the body answer 400',
    async run(cluster) {
      const name = cluster.name()
      const body = cluster.configMap(name, {}, { managedFields: [{ manager: 'x' }] })
      const answer = await cluster.apply(`${cluster.configMaps}/${name}`, body, { fieldManager: 'one' })
      const status = expectFailure(answer, 400, 'BadRequest')
      assert.match(text(status['message']), /metadata\.managedFields must be nil/)
    },
  },
  {
    area,
    title: 'dryRun shows what an apply would make of it',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      const query = { fieldManager: 'one', dryRun: 'All', ...strict }
      const first = expectStatus(await cluster.apply(path, cluster.widget(name), query), 201).body
      assert.equal(at(first, 'spec', 'color'), 'grey')
      expectFailure(await cluster.api.call('GET', path), 404, 'NotFound')
    },
  },
  {
    area,
    title: 'apply writes the status through its subresource alone',
    async run(cluster) {
      const created = await cluster.createWidget()
      const path = `${cluster.widgets}/${nameOf(created)}`
      const body = {
        ...cluster.widget(nameOf(created), {}),
        status: { conditions: [{ type: 'Ready', status: 'True' }] },
      }
      const answer = await cluster.apply(`${path}/status`, body, { fieldManager: 'controller' })
      const { body: updated } = expectStatus(answer, 200)
      assert.equal(at(updated, 'status', 'conditions', 0, 'status'), 'True')
      const entry = list(at(updated, 'metadata', 'managedFields')).find(
        (known) => at(known, 'manager') === 'controller',
      )
      assert.equal(at(entry, 'subresource'), 'status')
      assert.equal(at(entry, 'fieldsV1', 'f:spec'), undefined)
    },
  },
  {
    area,
    title: 'apply on a terminating object answers 200 with its deletionTimestamp',
    async run(cluster) {
      const name = cluster.name()
      const path = `${cluster.widgets}/${name}`
      const body = cluster.widget(name, { size: 1 }, { finalizers: ['conformance.sluice.dev/hold'] })
      const created = expectStatus(await cluster.apply(path, body, { fieldManager: 'one' }), 201).body
      expectStatus(await cluster.api.call('DELETE', path), 200)
      const again = { ...body, spec: { size: 2 } }
      const { body: applied } = expectStatus(await cluster.apply(path, again, { fieldManager: 'one' }), 200)
      assert.notEqual(at(applied, 'metadata', 'deletionTimestamp'), undefined)
      assert.equal(uidOf(applied), uidOf(created))
      expectStatus(await cluster.patch(path, { metadata: { finalizers: null } }, { type: 'merge' }), 200)
    },
  },
  {
    area,
    title: 'an update resets managed fields with an empty entry',
    async run(cluster) {
      const created = await cluster.createConfigMap()
      const path = `${cluster.configMaps}/${nameOf(created)}`
      const patch = [{ op: 'replace', path: '/metadata/managedFields', value: [{}] }]
      const { body } = expectStatus(await cluster.patch(path, patch, { type: 'json' }), 200)
      assert.equal(at(body, 'metadata', 'managedFields'), undefined)
      assert.notEqual(versionOf(body), versionOf(created))
    },
  },
]
