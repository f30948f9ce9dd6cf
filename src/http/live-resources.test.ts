import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { createClient } from '../client/create-client.ts'
import { createLiveHub } from '../client/live-hub.ts'
import type { LiveConnection } from '../client/live-connection.ts'
import { connectCluster, type Cluster } from '../kubernetes/cluster.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { waitForDeleted, waitForProjectReady } from '../kubernetes/wait-for-ready.ts'
import { type RunningSluice, startSluice } from '../main.ts'

const logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger }
const devTokens = { requester: 'r'.repeat(43), approver: 'a'.repeat(43), admin: 'd'.repeat(43) }

let simulated: SimulatedCluster
let cluster: Cluster
let sluice: RunningSluice
let live: LiveConnection

beforeAll(async () => {
  simulated = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 300 } })
  cluster = connectCluster({ name: 'default', kubeconfig: simulated.kubeconfig() })
  const { url } = await createTestDatabase()
  sluice = await startSluice({
    databaseUrl: url,
    port: 0,
    poolMax: 10,
    kubeconfig: simulated.kubeconfig(),
    devTokens,
    // For the Secret that is applied below.
    secretKey: Buffer.alloc(32, 3),
    logger,
  })
  live = createClient({ baseUrl: sluice.url, token: devTokens.requester }).live()
})
afterAll(async () => {
  live.stop()
  await sluice.stop()
  await cluster.stop()
  await simulated.stop()
})

const client = () => createClient({ baseUrl: sluice.url, token: devTokens.requester })
const create = (name: string) => client().submit('project.create', { name, organization: 'acme' }, { waitSeconds: 10 })

describe('browser watch: the cluster through the live connection', () => {
  test('a project is waited for with the same function as in an operation', async () => {
    await create('seen')
    const hub = createLiveHub(live)
    const project = await waitForProjectReady('acme', 'seen', { hub, timeoutMs: 10_000 })
    expect(project.metadata.name).toBe('seen')
  })

  test('a deletion is seen as it happens', async () => {
    await create('goes')
    const hub = createLiveHub(live)
    const ref = { apiVersion: 'resourcemanager.miloapis.com/v1alpha1', kind: 'Project', name: 'goes' }
    const { metadata } = await waitForProjectReady('acme', 'goes', { hub, timeoutMs: 10_000 })
    const gone = waitForDeleted({ hub, ref, uid: metadata.uid, timeoutMs: 10_000 })
    await cluster.delete(ref)
    await gone
  })

  test('what no task of the tenant made does not exist for it', async () => {
    const apiVersion = 'resourcemanager.miloapis.com/v1alpha1'
    const spec = { ownerRef: { kind: 'Organization', name: 'other' } }
    await cluster.create({ apiVersion, kind: 'Project', metadata: { name: 'foreign' }, spec })
    await create('ours')
    const names = await new Promise<string[]>((resolve) => {
      const seen: string[] = []
      const subscription = live.subscribe({
        to: { kind: 'resource', apiVersion, objectKind: 'Project' },
        onChange: (change) => {
          if (change.type === 'synced') {
            subscription.stop()
            resolve(seen)
          } else if (change.type !== 'unavailable') seen.push(String(Object(change.object['metadata']).name))
        },
      })
    })
    expect(names).toContain('ours')
    expect(names).not.toContain('foreign')
  })

  test('a Secret shows its keys, never its values', async () => {
    const value = Buffer.from('hunter2').toString('base64')
    const object = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'password', namespace: 'default' },
      data: { password: value },
    }
    const { task_id } = await client().submit('resource.apply', { object })
    const approver = createClient({ baseUrl: sluice.url, token: devTokens.approver })
    const [ticket] = (await approver.listTickets()).items
    if (ticket) await approver.approveTicket(ticket.ticket_id, { payload_hash: ticket.payload_hash })
    expect(await client().waitForTask(task_id)).toMatchObject({ status: 'COMPLETED' })
    const seen = await new Promise<unknown[]>((resolve) => {
      const objects: unknown[] = []
      const subscription = live.subscribe({
        to: { kind: 'resource', apiVersion: 'v1', objectKind: 'Secret', namespace: 'default' },
        onChange: (change) => {
          if (change.type === 'synced') {
            subscription.stop()
            resolve(objects)
          } else if (change.type !== 'unavailable') objects.push(change.object)
        },
      })
    })
    expect(seen).toMatchObject([{ metadata: { name: 'password' }, data: { password: null } }])
    expect(JSON.stringify(seen)).not.toContain(value)
  })

  test('an unknown cluster is refused in words', async () => {
    const refused = await new Promise<{ code: string }>((resolve) => {
      live.subscribe({
        to: { kind: 'resource', cluster: 'nowhere', apiVersion: 'v1', objectKind: 'Pod' },
        onChange: () => undefined,
        onRefused: resolve,
      })
    })
    expect(refused.code).toBe('unknown_cluster')
  })
})
