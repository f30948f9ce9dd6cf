import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, connectCluster, type DesiredObject, type ObjectRef } from './cluster.ts'
import {
  AlreadyExistsError,
  ApplyConflictError,
  ClusterServerError,
  ForbiddenError,
  InvalidObjectError,
  NotFoundError,
  PreconditionFailedError,
  TerminatingError,
  ThrottledError,
  UnauthorizedError,
  UnknownKindError,
  UnreachableError,
} from './cluster-errors.ts'
import { isRecord } from './kubernetes-object.ts'
import { type SimulatedCluster, startSimulatedCluster } from './simulated/simulated-cluster.ts'

const reader = {
  token: 'reader',
  user: 'reader',
  rules: [{ verbs: ['get', 'list', 'watch'], apiGroups: [''], resources: ['configmaps'] }],
}

let server: SimulatedCluster
let cluster: Cluster
let names = 0
beforeAll(async () => {
  server = await startSimulatedCluster({
    tokens: [{ token: 'admin', user: 'admin', groups: ['system:masters'] }, reader],
    controllers: { enabled: false },
  })
  cluster = connectCluster({ name: 'test', kubeconfig: server.kubeconfig(), simulated: true })
})
afterEach(() => server.faults.clear())
afterAll(async () => {
  await cluster.stop()
  await server.stop()
})

const fieldManager = 'sluice-test'

function configMap(data: Record<string, string> = { a: '1' }, more: Partial<DesiredObject> = {}): DesiredObject {
  names += 1
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `map-${names}`, namespace: 'default' },
    data,
    ...more,
  }
}

function project(name: string, organization = 'acme'): DesiredObject {
  return {
    apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
    kind: 'Project',
    metadata: { name },
    spec: { ownerRef: { kind: 'Organization', name: organization } },
  }
}

const refTo = (object: DesiredObject): ObjectRef => ({
  apiVersion: object.apiVersion,
  kind: object.kind,
  name: object.metadata.name,
  ...(object.metadata.namespace !== undefined && { namespace: object.metadata.namespace }),
})

describe('cluster: read', () => {
  test('says which version it is', async () => {
    expect(await cluster.version()).toMatch(/^v1\./)
    expect(cluster).toMatchObject({ name: 'test', simulated: true })
  })

  test('an object, or undefined', async () => {
    const desired = configMap()
    expect(await cluster.get(refTo(desired))).toBeUndefined()
    const applied = await cluster.apply(desired, { fieldManager })
    expect(await cluster.get(refTo(desired))).toEqual(applied)
  })

  test('a kind that is not served', async () => {
    const ref = { apiVersion: 'nope.dev/v1', kind: 'Nope', name: 'a' }
    await expect(cluster.get(ref)).rejects.toThrow(UnknownKindError)
    await expect(cluster.get({ apiVersion: 'v1', kind: 'Nope', name: 'a' })).rejects.toThrow('serves no Nope in v1')
  })

  test('a namespace where none belongs, and none where one does', async () => {
    await expect(cluster.get({ apiVersion: 'v1', kind: 'ConfigMap', name: 'a' })).rejects.toThrow('needs a namespace')
    await expect(cluster.get({ apiVersion: 'v1', kind: 'Namespace', namespace: 'x', name: 'a' })).rejects.toThrow(
      'must not have a namespace',
    )
  })

  test('pages, by selector', async () => {
    for (let i = 0; i < 5; i += 1) {
      const metadata = { name: `page-${i}`, namespace: 'default', labels: { set: 'pages' } }
      await cluster.apply({ ...configMap(), metadata }, { fieldManager })
    }
    const collection = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', labelSelector: 'set=pages' }
    const first = await cluster.list(collection, { limit: 3 })
    const second = await cluster.list(collection, { limit: 3, continueToken: first.continueToken })
    expect([...first.items, ...second.items].map(({ metadata }) => metadata.name)).toEqual(
      [0, 1, 2, 3, 4].map((i) => `page-${i}`),
    )
    expect(second).toMatchObject({ continueToken: undefined, resourceVersion: first.resourceVersion })
    expect(first.items[0]).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' })
  })
})

describe('cluster: apply', () => {
  test('creates, then changes nothing when nothing changes', async () => {
    const desired = configMap()
    const first = await cluster.apply(desired, { fieldManager })
    const again = await cluster.apply(desired, { fieldManager })
    expect(again.metadata.resourceVersion).toBe(first.metadata.resourceVersion)
  })

  test('a field of somebody else: conflict with field and owner; forced only when told', async () => {
    const desired = project('conflict')
    await cluster.apply(desired, { fieldManager: 'kubectl' })
    const error: unknown = await cluster
      .apply(project('conflict', 'other'), { fieldManager })
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ApplyConflictError)
    expect(error).toMatchObject({ conflicts: [{ field: '.spec.ownerRef.name', owner: 'kubectl' }], retryable: false })
    await expect(cluster.apply(project('conflict', 'other'), { fieldManager, force: true })).resolves.toMatchObject({
      spec: { ownerRef: { name: 'other' } },
    })
  })

  test('an unknown field is permanent, on a custom resource (500) as on a built-in kind (400)', async () => {
    const custom = { ...project('unknown-field'), spec: { ownerRef: { kind: 'Organization', name: 'a' }, foo: 1 } }
    const error: unknown = await cluster.apply(custom, { fieldManager }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(InvalidObjectError)
    expect(error).toMatchObject({ status: 500, retryable: false })
    await expect(cluster.apply(configMap({}, { foo: 1 }), { fieldManager })).rejects.toThrow(InvalidObjectError)
  })

  test('the uid is a fence: gone or another object is a failed precondition', async () => {
    const desired = configMap()
    await expect(cluster.apply(desired, { fieldManager, uid: 'f0e1d2c3-0000-4000-8000-000000000000' })).rejects.toThrow(
      PreconditionFailedError,
    )
    const { metadata } = await cluster.apply(desired, { fieldManager })
    await expect(cluster.apply(desired, { fieldManager, uid: 'f0e1d2c3-0000-4000-8000-000000000000' })).rejects.toThrow(
      PreconditionFailedError,
    )
    await expect(
      cluster.apply({ ...desired, data: { b: '2' } }, { fieldManager, uid: metadata.uid }),
    ).resolves.toMatchObject({
      metadata: { uid: metadata.uid },
    })
  })

  test('to an object that is being deleted', async () => {
    const desired = { ...configMap(), metadata: { name: 'held', namespace: 'default', finalizers: ['test.dev/hold'] } }
    await cluster.apply(desired, { fieldManager })
    await cluster.delete(refTo(desired))
    await expect(cluster.apply(desired, { fieldManager })).rejects.toThrow(TerminatingError)
  })

  test('into a namespace that is not there', async () => {
    const desired = { ...configMap(), metadata: { name: 'a', namespace: 'nowhere' } }
    await expect(cluster.apply(desired, { fieldManager })).rejects.toThrow(NotFoundError)
  })

  test('dry run answers as if, and changes nothing', async () => {
    const desired = configMap()
    const warnings: string[] = []
    const preview = await cluster.apply(desired, {
      fieldManager,
      dryRun: true,
      onWarning: (text) => warnings.push(text),
    })
    expect(preview.metadata).toMatchObject({ name: desired.metadata.name, resourceVersion: '' })
    expect(await cluster.get(refTo(desired))).toBeUndefined()
    expect(warnings).toEqual([])
  })
})

describe('cluster: create and delete', () => {
  test('a name that is taken', async () => {
    const desired = configMap()
    await cluster.create(desired, { fieldManager })
    await expect(cluster.create(desired, { fieldManager })).rejects.toThrow(AlreadyExistsError)
  })

  test('with the uid as precondition', async () => {
    const desired = configMap()
    const { uid } = (await cluster.create(desired)).metadata
    await expect(cluster.delete(refTo(desired), { uid: 'another' })).rejects.toThrow(PreconditionFailedError)
    expect(await cluster.delete(refTo(desired), { uid })).toBeUndefined()
    expect(await cluster.delete(refTo(desired), { uid })).toBeUndefined()
  })

  test('held by a finalizer: answers the object', async () => {
    const desired = {
      ...configMap(),
      metadata: { name: 'finalizer', namespace: 'default', finalizers: ['test.dev/hold'] },
    }
    await cluster.create(desired)
    expect((await cluster.delete(refTo(desired)))?.metadata.deletionTimestamp).toEqual(expect.any(String))
  })

  test('dry run deletes nothing', async () => {
    const desired = configMap()
    await cluster.create(desired)
    await cluster.delete(refTo(desired), { dryRun: true })
    expect(await cluster.get(refTo(desired))).toBeDefined()
  })
})

describe('cluster: watch', () => {
  test('events as they come, from a version on', async () => {
    const collection = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      namespace: 'default',
      fieldSelector: 'metadata.name=watched',
    }
    const { resourceVersion } = await cluster.list(collection)
    const abort = new AbortController()
    const events = (await cluster.watch(collection, { resourceVersion, signal: abort.signal }))[Symbol.asyncIterator]()
    const desired = { ...configMap(), metadata: { name: 'watched', namespace: 'default' } }
    await cluster.apply(desired, { fieldManager })
    await cluster.delete(refTo(desired))
    const seen = [await events.next(), await events.next()].map(({ value }) =>
      isRecord(value) ? value['type'] : undefined,
    )
    expect(seen).toEqual(['ADDED', 'DELETED'])
    abort.abort(new Error('enough'))
    await expect(events.next()).rejects.toThrow('enough')
  })
})

describe('cluster: whatever else goes wrong', () => {
  test('401, 403', async () => {
    const stranger = connectCluster({ name: 'test', credentials: { server: server.url, token: 'wrong' } })
    const limited = connectCluster({ name: 'test', credentials: { server: server.url, token: reader.token } })
    await expect(stranger.version()).rejects.toThrow(UnauthorizedError)
    const ref = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'a' }
    await expect(limited.get(ref)).resolves.toBeUndefined()
    await expect(limited.delete(ref)).rejects.toThrow(ForbiddenError)
    await Promise.all([stranger.stop(), limited.stop()])
  })

  test('429, 500, half an answer, and a server that is away', async () => {
    const ref = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'a' }
    await cluster.get(ref)
    server.faults.tooManyRequests({ retryAfter: 3 })
    const error: unknown = await cluster.get(ref).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ThrottledError)
    expect(error).toMatchObject({ retryAfterMs: 3000, retryable: true })
    server.faults.error500()
    await expect(cluster.get(ref)).rejects.toThrow(ClusterServerError)
    server.faults.malformedJson()
    await expect(cluster.get(ref)).rejects.toMatchObject({ retryable: true })
    const away = connectCluster({ name: 'away', credentials: { server: 'http://127.0.0.1:1' } })
    await expect(away.get(ref)).rejects.toThrow(UnreachableError)
    await away.stop()
  })

  test('an answer that is too slow', async () => {
    const ref = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'a' }
    await cluster.get(ref)
    server.faults.slow(5_000)
    await expect(cluster.get(ref, { timeoutMs: 50 })).rejects.toThrow('no answer within 50 ms')
  })

  test('contradictory options are refused', () => {
    expect(() => connectCluster({ name: 'x' })).toThrow('exactly one')
    expect(() => connectCluster({ name: 'x', inCluster: true, kubeconfig: 'y' })).toThrow('exactly one')
    expect(() => connectCluster({ name: 'x', inCluster: true, basePath: 'no-slash' })).toThrow('is no base path')
  })

  test('stop may be called twice', async () => {
    const other = connectCluster({ name: 'other', kubeconfig: server.kubeconfig() })
    await other.version()
    await other.stop()
    await other.stop()
    await expect(other.version()).rejects.toThrow('was closed')
  })
})
