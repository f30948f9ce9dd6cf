import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { kubeconfig } from '../../test/helpers/kubeconfigs.ts'
import { until } from '../../test/helpers/until.ts'
import { createSignalListener } from '../database/signals.ts'
import { type Clusters, connectClusters } from '../kubernetes/clusters.ts'
import { createSecretBox } from '../platform/secret-box.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { type ClusterRegistry, createClusterRegistry } from './cluster-registry.ts'
import { addCluster, type RegisteredClustersOptions, removeCluster } from './registered-clusters.ts'

const secrets = createSecretBox(Buffer.alloc(32, 1))

let core: Core
let here: Process
let options: RegisteredClustersOptions
beforeAll(async () => {
  core = await startCore()
  here = await startProcess()
  // It stays for all tests.
  others.splice(0)
  options = { ...core, secrets, registry: here.registry, isShared: () => false }
})
afterAll(async () => {
  await here.registry.stop()
  await core.stop()
})

interface Process {
  readonly registry: ClusterRegistry
  readonly clusters: Clusters
}

const others: Process[] = []
afterEach(async () => {
  for (const { registry } of others.splice(0)) await registry.stop()
})

async function startProcess(
  more: Partial<Parameters<typeof createClusterRegistry>[0]> = {},
): Promise<Process & { readonly clusters: Clusters }> {
  const clusters = connectClusters([])
  const { database, listener } = core
  const registry = createClusterRegistry({
    ...{ database, listener, clusters, secrets, logger: createMemoryLogger(), role: 'sluice_worker', refuse: 'local' },
    ...more,
  })
  await registry.start()
  const started = { registry, clusters }
  others.push(started)
  return started
}

const admin = (tenant: string) => ({ tenant, actor: 'admin' })
const given = (name: string) => ({ name, kubeconfig: kubeconfig(), basePaths: [] })

describe('clusters of tenants, in every process', () => {
  test('where they are added they are there at once; elsewhere with the signal', async () => {
    const there = await startProcess({ pollMs: 3_600_000 })
    await addCluster(options, admin('acme'), given('signalled'))
    expect(here.clusters.namesFor('acme')).toContain('signalled')
    await until(() => there.clusters.has('acme/signalled'))
    await removeCluster(options, admin('acme'), 'signalled')
    expect(() => here.clusters.get('acme/signalled')).toThrow('was removed by admin')
    await until(() => !there.clusters.has('acme/signalled'))
  })

  test('and without it, by looking again and again', async () => {
    const deaf = createSignalListener({ url: core.url, onError: () => undefined })
    const there = await startProcess({ listener: deaf, pollMs: 20 })
    await addCluster(options, admin('acme'), given('polled'))
    await until(() => there.clusters.has('acme/polled'))
    await removeCluster(options, admin('acme'), 'polled')
    await until(() => !there.clusters.has('acme/polled'))
  })

  test('who expects one that was added a moment ago finds it', async () => {
    const there = await startProcess({
      listener: createSignalListener({ url: core.url, onError: () => undefined }),
      pollMs: 3_600_000,
    })
    await addCluster(options, admin('acme'), given('expected'))
    expect(there.clusters.namesFor('acme')).not.toContain('expected')
    await there.registry.expect('acme', 'expected')
    expect(there.clusters.namesFor('acme')).toContain('expected')
  })

  test('a look sees what was committed before it, also while another one is under way', async () => {
    const there = await startProcess({ pollMs: 3_600_000 })
    const first = there.registry.look()
    await addCluster(options, admin('acme'), given('between'))
    await there.registry.look()
    expect(there.clusters.namesFor('acme')).toContain('between')
    await first
  })
})

describe('sealed credentials', () => {
  test('open in their own row only: what was copied to another tenant is of no use there', async () => {
    await addCluster(options, admin('acme'), given('sealed'))
    await core.database.pool.query(
      `insert into sluice.clusters (tenant_id, name, server, authentication, sealed_credentials, created_by)
       select 'thief', name, server, authentication, sealed_credentials, 'thief' from sluice.clusters
       where tenant_id = 'acme' and name = 'sealed'`,
    )
    await here.registry.look()
    expect(() => here.clusters.get('thief/sealed')).toThrow('cannot be opened')
    expect(here.clusters.get('acme/sealed').name).toBe('sealed')
    await core.database.pool.query(`delete from sluice.clusters where tenant_id = 'thief'`)
  })

  test.each([
    ['another key', createSecretBox(Buffer.alloc(32, 2))],
    ['no key', undefined],
  ])('a process with %s says so, and its tasks are tried again', async (_, wrong) => {
    await addCluster(options, admin('acme'), given('locked'))
    const there = await startProcess({ secrets: wrong })
    const get = () => there.clusters.get(there.clusters.keyFor('acme', 'locked'))
    expect(get).toThrow(expect.objectContaining({ code: 'unreachable', retryable: true }))
  })

  test('are out of reach for a transaction of their own tenant', async () => {
    const read = core.database.transaction({ role: 'sluice_api', tenant: 'acme' }, (tx) =>
      tx.selectFrom('clusters').select('sealed_credentials').execute(),
    )
    await expect(read).rejects.toThrow('permission denied')
  })
})

describe('a tenant', () => {
  test('has at most fifty, and its removals are not kept for ever', async () => {
    const many = Array.from({ length: 50 }, (_, i) => `c-${i}`)
    for (const name of many) expect(await addCluster(options, admin('busy'), given(name))).toMatchObject({ name })
    expect(await addCluster(options, admin('busy'), given('one-more'))).toBe('too_many')
    expect(await addCluster(options, admin('quiet'), given('one-more'))).toMatchObject({ name: 'one-more' })
    const count = async () => {
      const { rows } = await core.database.pool.query(`select from sluice.clusters where tenant_id = 'busy'`)
      return rows.length
    }
    for (let i = 0; i < 110; i++) {
      await removeCluster(options, admin('busy'), i === 0 ? 'c-0' : `extra-${i - 1}`)
      await addCluster(options, admin('busy'), given(`extra-${i}`))
    }
    expect(await count()).toBeLessThanOrEqual(150)
  })

  test('cannot take the name of a cluster that is for all', async () => {
    const shared = { ...options, isShared: (name: string) => name === 'default' }
    expect(await addCluster(shared, admin('acme'), given('default'))).toBe('name_taken')
  })
})
