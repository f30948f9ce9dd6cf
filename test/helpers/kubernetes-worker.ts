import { type Clusters, connectClusters, type ClusterConfig } from '../../src/kubernetes/clusters.ts'
import { createDiagnoser } from '../../src/kubernetes/diagnose.ts'
import { createWatchHub } from '../../src/kubernetes/watch-hub.ts'
import { builtInOperations, createOperationRegistry } from '../../src/operations/registry.ts'
import { createTaskAcceptor } from '../../src/tasks/accept-task.ts'
import { listResources, type ResourcePage } from '../../src/tasks/find-resources.ts'
import { createPlaces } from '../../src/tasks/places.ts'
import type { WorkerOptions } from '../../src/worker/worker.ts'
import type { Core } from './core.ts'
import { startWorker } from './worker.ts'

/** A worker with the built-in operations on real or simulated clusters, composed as a process composes it. */
export interface KubernetesWorker {
  readonly clusters: Clusters
  /** Asks for a change, past HTTP. Returns the task's UUID. */
  submit(operation: string, input: Record<string, unknown>, options?: SubmitOptions): Promise<string>
  resources(query?: Parameters<typeof listResources>[2]): Promise<ResourcePage['items']>
  /** Ends the worker, as a process that goes; the rest stays for the next one. */
  stopWorker(): Promise<void>
  startWorker(): Promise<void>
  stop(): Promise<void>
}

export interface SubmitOptions {
  readonly tenant?: string
  readonly timeoutMs?: number
}

export async function startKubernetesWorker(
  core: Core,
  configs: readonly ClusterConfig[],
  options: Partial<WorkerOptions> = {},
): Promise<KubernetesWorker> {
  const clusters = connectClusters(configs)
  const operations = createOperationRegistry(builtInOperations)
  const places = createPlaces(clusters)
  const acceptor = createTaskAcceptor({ ...core, places })
  const cluster: WorkerOptions['cluster'] = (tenant, name) => clusters.get(clusters.keyFor(tenant, name))
  const start = async () => {
    const hub = createWatchHub({ cluster: clusters.get, lingerMs: 0 })
    const diagnose = createDiagnoser()
    const worker = await startWorker(core, builtInOperations, {
      hub,
      cluster,
      clusterKey: clusters.keyFor,
      places,
      diagnose: (wait, object, signal) =>
        diagnose(cluster(wait.tenant, wait.cluster), object, { signal, basePath: wait.basePath }),
      ...options,
    })
    return async () => {
      await worker.stop(0)
      await hub.stop()
    }
  }
  let stopWorker = await start()
  return {
    clusters,
    submit: async (type, input, { tenant = 'default', timeoutMs } = {}) => {
      const operation = operations.get(type)
      if (!operation) throw new Error(`there is no operation ${type}`)
      const { taskId, outcome } = await acceptor.accept({
        operation,
        input: operation.input.parse(input),
        options: timeoutMs === undefined ? {} : { timeout_ms: timeoutMs },
        tenant,
        actor: 'requester',
      })
      if (outcome !== 'accepted') throw new Error(`the change was not accepted: ${outcome}`)
      return taskId
    },
    resources: async (query = {}) => (await listResources(core.database, 'default', query)).items,
    stopWorker: () => stopWorker(),
    startWorker: async () => {
      stopWorker = await start()
    },
    stop: async () => {
      await stopWorker()
      await clusters.stop()
    },
  }
}
