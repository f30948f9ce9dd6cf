import type { PolicyStore } from '../approvals/policy-store.ts'
import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { ConsoleLogin } from '../identity/oidc/console-login.ts'
import type { Identity } from '../identity/principal.ts'
import type { Cluster } from '../kubernetes/cluster.ts'
import type { WatchHub } from '../kubernetes/watch-hub.ts'
import type { Feed } from '../live/feed.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { OperationRegistry } from '../operations/registry.ts'
import type { Cache } from '../platform/cache.ts'
import type { Instruments } from '../metrics/instruments.ts'
import type { FeatureFlags } from '../platform/feature-flags.ts'
import type { Logger } from '../platform/logger.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { Queue } from '../queue/queue.ts'
import type { TaskAcceptor } from '../tasks/accept-task.ts'
import type { ClusterRegistry } from '../tasks/cluster-registry.ts'
import type { ResultStore } from '../tasks/result-store.ts'
import type { Gate } from '../tasks/gate.ts'
import type { Places } from '../tasks/places.ts'

/** What the routes work with. */
export interface Services {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly acceptor: TaskAcceptor
  /** Left out by tests of what no policy concerns. */
  readonly gate?: Gate
  readonly operations: OperationRegistry
  readonly identity: Identity
  /** The console's login at the identity provider, where one is configured, and where browsers find this server. */
  readonly login?: ConsoleLogin & { publicUrl(): string }
  readonly policies: PolicyStore
  /** Undefined: no key is configured, and webhooks and clusters cannot be made. */
  readonly secrets: SecretBox | undefined
  /** Which addresses webhooks may reach. @default those of the open internet */
  readonly mayReach?: (address: string) => boolean
  /** Whether a mail server is configured. */
  readonly mails?: boolean
  readonly feed: Feed
  readonly hub: WatchHub
  readonly logger: Logger
  readonly tracer: Tracer
  /** @default nobody counts */
  readonly instruments?: Instruments
  /** Stored results. Undefined: no object storage is configured. */
  readonly results?: ResultStore | undefined
  /** Without them each flag is its default: operations behind one are off. */
  readonly featureFlags?: FeatureFlags
  /** For what is asked for again and again and changes seldom, such as the keys of an identity provider. */
  readonly cache: Cache
  /** What a tenant calls by this name. Throws `ClusterConfigurationError` for one that nobody configured. */
  cluster(tenant: string, name: string): Cluster
  /** What the hub calls the same. */
  clusterKey(tenant: string, name: string): string
  clusterNames(tenant: string): readonly string[]
  /** Whether a cluster of this name is configured for all tenants. */
  isSharedCluster(name: string): boolean
  readonly clusterRegistry: ClusterRegistry
  readonly places: Places
  /** Whether the process can serve: cheap, asked on every request. */
  ready(): boolean
  /** Why the process cannot serve yet, one sentence each; empty when it can. */
  notReady(): Promise<readonly string[]>
}
