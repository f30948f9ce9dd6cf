import { createApp, type App, type AppOptions } from '../../src/http/app.ts'
import type { Services } from '../../src/http/services.ts'
import { createDevelopmentIdentity, type DevelopmentPrincipal } from '../../src/identity/development-identity.ts'
import { connectClusters } from '../../src/kubernetes/clusters.ts'
import { createWatchHub } from '../../src/kubernetes/watch-hub.ts'
import { createFeed } from '../../src/live/feed.ts'
import type { Operation } from '../../src/operations/define-operation.ts'
import { createSecretBox } from '../../src/platform/secret-box.ts'
import { createOperationRegistry } from '../../src/operations/registry.ts'
import { createMemoryLogger, type MemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { createMemoryCache } from '../../src/platform/memory/memory-cache.ts'
import { createIdTracer } from '../../src/platform/propagating-tracer.ts'
import { createClusterRegistry } from '../../src/tasks/cluster-registry.ts'
import type { GovernedCore } from './governed-core.ts'

// Answers are whatever the test expects of them; a wrong expectation fails it.
// oxlint-disable-next-line typescript/no-explicit-any
type Answer = Record<string, any>

export interface TestApi {
  readonly app: App
  readonly tokens: Readonly<Record<DevelopmentPrincipal, string>>
  readonly services: Services
  readonly logger: MemoryLogger
  /** Asks as one of the development principals; the answer's body is parsed. */
  as(
    who: DevelopmentPrincipal,
    line: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; headers: Record<string, unknown>; body: Answer }>
  stop(): Promise<void>
}

/** The HTTP API over a governed core, asked without a socket; no worker. */
export async function startTestApi(
  core: GovernedCore,
  operations: readonly Operation[],
  { trustProxy, ...options }: Partial<Services> & Pick<AppOptions, 'trustProxy'> = {},
): Promise<TestApi> {
  const letters = { requester: 'r', approver: 'a', admin: 'm' } as const
  const tokens = {
    requester: letters.requester.repeat(43),
    approver: letters.approver.repeat(43),
    admin: letters.admin.repeat(43),
  }
  const memoryLogger = createMemoryLogger()
  const { logger = memoryLogger } = options
  const feed = createFeed({ pool: core.database.pool, listener: core.listener, logger, pollMs: 50 })
  await feed.start()
  const noCluster = (_tenant: string, name: string): never => {
    throw new Error(`there is no cluster ${name} here`)
  }
  const hub = createWatchHub({ cluster: (name) => noCluster('', name), logger })
  const secrets = createSecretBox(Buffer.alloc(32, 7))
  const clusterRegistry = createClusterRegistry({
    database: core.database,
    listener: core.listener,
    clusters: connectClusters([]),
    secrets,
    logger,
    role: 'sluice_api',
    refuse: 'local',
  })
  const services: Services = {
    ...core,
    identity: createDevelopmentIdentity({ database: core.database, logger, tokens, platformTenant: 'default' }),
    operations: createOperationRegistry(operations),
    secrets,
    feed,
    logger,
    tracer: createIdTracer(),
    cache: createMemoryCache(),
    hub,
    cluster: noCluster,
    clusterKey: (_tenant, name) => name,
    clusterNames: () => ['default'],
    isSharedCluster: (name) => name === 'default',
    clusterRegistry,
    places: { basePathOf: () => '' },
    ready: () => true,
    notReady: async () => [],
    ...options,
  }
  const app = await createApp({ services, ...(trustProxy && { trustProxy }) })
  return {
    app,
    tokens,
    services,
    logger: memoryLogger,
    as: async (who, line, body, headers = {}) => {
      const [method = 'GET', path = ''] = line.split(' ')
      const response = await app.inject({
        // The lines are written in this test kit's own tests.
        method: method as 'GET',
        url: `/api/v1${path}`,
        headers: { authorization: `Bearer ${tokens[who]}`, ...headers },
        ...(body !== undefined && { payload: body as object }),
      })
      return {
        status: response.statusCode,
        headers: response.headers,
        body: response.body === '' ? {} : response.json<Answer>(),
      }
    },
    stop: async () => {
      await feed.stop()
      await app.close()
      await hub.stop()
    },
  }
}
