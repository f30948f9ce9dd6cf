import assert from 'node:assert/strict'
import { at, nameOf } from '../api-client.ts'
import { expectFailure, expectStatus, list, text, uidOf, type ConformanceCase } from '../conformance-case.ts'

const area = 'validation'

export const validationCases: readonly ConformanceCase[] = [
  {
    area,
    title: 'defaults of the schema are filled in',
    async run(cluster) {
      assert.equal(at(await cluster.createWidget(), 'spec', 'color'), 'grey')
    },
  },
  {
    area,
    title: 'defaults of built-in kinds are filled in',
    async run(cluster) {
      const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'web', image: 'web:1' }] } }
      const body = {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: cluster.name() },
        // As kubectl sends it.
        spec: { selector: { matchLabels: { app: 'web' } }, strategy: {}, template },
      }
      const path = `/apis/apps/v1/namespaces/${cluster.namespace}/deployments`
      const made = expectStatus(await cluster.api.call('POST', path, { body, query: { dryRun: 'All' } }), 201).body
      assert.equal(at(made, 'spec', 'replicas'), 1)
      const rollingUpdate = { maxSurge: '25%', maxUnavailable: '25%' }
      assert.deepEqual(at(made, 'spec', 'strategy'), { type: 'RollingUpdate', rollingUpdate })
      const pod = at(made, 'spec', 'template', 'spec')
      assert.equal(at(pod, 'containers', 0, 'imagePullPolicy'), 'IfNotPresent')
      assert.equal(at(pod, 'enableServiceLinks'), undefined)
    },
  },
  {
    area,
    title: 'a key of a ConfigMap that could be no file name answers 422',
    async run(cluster) {
      const body = cluster.configMap(cluster.name(), { 'no key!': 'value' })
      const status = expectFailure(await cluster.api.call('POST', cluster.configMaps, { body }), 422, 'Invalid')
      assert.equal(at(status, 'details', 'causes', 0, 'field'), 'data[no key!]')
    },
  },
  {
    area,
    title: 'a Job is marked with its own name and uid',
    async run(cluster) {
      const name = cluster.name()
      const spec = { restartPolicy: 'Never', containers: [{ name: 'main', image: 'main:1' }] }
      const body = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name }, spec: { template: { spec } } }
      const path = `/apis/batch/v1/namespaces/${cluster.namespace}/jobs`
      const made = expectStatus(await cluster.api.call('POST', path, { body, query: { dryRun: 'All' } }), 201).body
      for (const labels of [at(made, 'metadata', 'labels'), at(made, 'spec', 'template', 'metadata', 'labels')]) {
        assert.equal(at(labels, 'batch.kubernetes.io/job-name'), name)
        assert.equal(at(labels, 'batch.kubernetes.io/controller-uid'), uidOf(made))
      }
      assert.equal(at(made, 'spec', 'podReplacementPolicy'), 'TerminatingOrFailed')
    },
  },
  {
    area,
    title: 'bounds, enumerations and types answer 422 with one cause per field',
    async run(cluster) {
      const body = cluster.widget(cluster.name(), { size: 101, color: 'pink', words: 'no list' })
      const status = expectFailure(await cluster.api.call('POST', cluster.widgets, { body }), 422, 'Invalid')
      const fields = list(at(status, 'details', 'causes')).map((cause) => at(cause, 'field'))
      for (const field of ['spec.size', 'spec.color', 'spec.words'])
        assert.ok(fields.includes(field), `cause for ${field}`)
      assert.equal(at(status, 'details', 'kind'), 'Widget')
    },
  },
  {
    area,
    title: 'a missing required field answers 422 FieldValueRequired',
    async run(cluster) {
      const { spec: _, ...body } = cluster.widget(cluster.name())
      const status = expectFailure(await cluster.api.call('POST', cluster.widgets, { body }), 422, 'Invalid')
      assert.equal(at(status, 'details', 'causes', 0, 'reason'), 'FieldValueRequired')
      assert.equal(at(status, 'details', 'causes', 0, 'field'), 'spec')
    },
  },
  {
    area,
    title: 'a rule of the definition answers 422 with its message',
    async run(cluster) {
      const body = cluster.widget(cluster.name(), { size: 60 })
      const status = expectFailure(await cluster.api.call('POST', cluster.widgets, { body }), 422, 'Invalid')
      assert.match(text(status['message']), /large widgets are red/)
      const red = cluster.widget(cluster.name(), { size: 60, color: 'red' })
      expectStatus(await cluster.api.call('POST', cluster.widgets, { body: red }), 201)
    },
  },
  {
    area,
    title: 'a rule on the old value holds for updates only',
    async run(cluster) {
      const created = await cluster.createWidget({ size: 1, serial: 'one' })
      const path = `${cluster.widgets}/${nameOf(created)}`
      const status = expectFailure(
        await cluster.patch(path, { spec: { serial: 'two' } }, { type: 'merge' }),
        422,
        'Invalid',
      )
      assert.match(text(status['message']), /serial is immutable/)
    },
  },
  {
    area,
    title: 'the same key twice in a list with keys answers 422 FieldValueDuplicate',
    async run(cluster) {
      const body = cluster.widget(cluster.name(), { size: 1, parts: [{ name: 'a' }, { name: 'a' }] })
      const status = expectFailure(await cluster.api.call('POST', cluster.widgets, { body }), 422, 'Invalid')
      assert.equal(at(status, 'details', 'causes', 0, 'reason'), 'FieldValueDuplicate')
    },
  },
  {
    area,
    title: 'an unknown field is dropped with a warning, refused when strict, ignored when told so',
    async run(cluster) {
      const spec = { size: 1, unheard: true }
      const first = cluster.widget(cluster.name(), spec)
      const warned = expectStatus(await cluster.api.call('POST', cluster.widgets, { body: first }), 201)
      assert.equal(at(warned.body, 'spec', 'unheard'), undefined)
      assert.match(warned.warnings, /unknown field .*spec\.unheard/)
      const strict = { body: cluster.widget(cluster.name(), spec), query: { fieldValidation: 'Strict' } }
      const status = expectFailure(await cluster.api.call('POST', cluster.widgets, strict), 400, 'BadRequest')
      assert.match(text(status['message']), /strict decoding error: unknown field "spec\.unheard"/)
      const ignore = { body: cluster.widget(cluster.name(), spec), query: { fieldValidation: 'Ignore' } }
      assert.equal(expectStatus(await cluster.api.call('POST', cluster.widgets, ignore), 201).warnings, '')
    },
  },
  {
    area,
    title: 'a field that the body names twice is refused when strict, with a warning otherwise',
    async run(cluster) {
      const twice = (): string =>
        JSON.stringify(cluster.widget(cluster.name())).replace('{"size":1}', '{"size":1,"size":2}')
      const strict = { body: twice(), query: { fieldValidation: 'Strict' } }
      const status = expectFailure(await cluster.api.call('POST', cluster.widgets, strict), 400, 'BadRequest')
      assert.match(text(status['message']), /duplicate field "spec\.size"/)
      const warned = expectStatus(await cluster.api.call('POST', cluster.widgets, { body: twice() }), 201)
      assert.match(warned.warnings, /duplicate field .*spec\.size/)
      assert.equal(at(warned.body, 'spec', 'size'), 2)
    },
  },
  {
    area,
    title: 'unknown fields below an open object are kept',
    async run(cluster) {
      const created = await cluster.createWidget({ size: 1, free: { any: { thing: [1, 'two'] } } })
      assert.deepEqual(at(created, 'spec', 'free'), { any: { thing: [1, 'two'] } })
    },
  },
  {
    area,
    title: 'a body that is no JSON answers 400, and another media type 415',
    async run(cluster) {
      expectFailure(await cluster.api.call('POST', cluster.configMaps, { body: '{"kind":' }), 400, 'BadRequest')
      const answer = await cluster.api.call('POST', cluster.configMaps, { body: '<x/>', contentType: 'text/xml' })
      expectFailure(answer, 415, 'UnsupportedMediaType')
    },
  },
  {
    area,
    title: 'a definition that breaks the rules answers 422',
    async run(cluster) {
      const definition = (schema: Record<string, never> | object, name = 'gadgets.conformance.sluice.dev') => ({
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name },
        spec: {
          group: 'conformance.sluice.dev',
          scope: 'Namespaced',
          names: { plural: 'gadgets', singular: 'gadget', kind: 'Gadget' },
          // Each schema below is JSON.
          versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema as never } }],
        },
      })
      const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
      const keyless = {
        type: 'object',
        properties: { a: { type: 'array', items: { type: 'object' }, 'x-kubernetes-list-type': 'map' } },
      }
      expectFailure(await cluster.api.call('POST', path, { body: definition(keyless) }), 422, 'Invalid')
      const broken = { type: 'object', 'x-kubernetes-validations': [{ rule: 'self.' }] }
      expectFailure(await cluster.api.call('POST', path, { body: definition(broken) }), 422, 'Invalid')
      const named = definition({ type: 'object' }, 'others.conformance.sluice.dev')
      expectFailure(await cluster.api.call('POST', path, { body: named }), 422, 'Invalid')
    },
  },
]
