import type { CoreV1Api, KubeConfig, V1Secret } from '@kubernetes/client-node'
import { type Clock, delay, systemClock } from '../../clock.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import type { Logger } from '../../logger.ts'
import { ServiceNotRunningError, ServiceUnavailableError } from '../../platform-error.ts'
import { isSecretName, requireSecretName } from '../../secret-name.ts'
import { type SecretChange, SecretNotFoundError, type Secrets, type SecretWatch } from '../../secrets.ts'

export interface KubernetesSecretsOptions {
  readonly namespace: string
  /** YAML of a kubeconfig. @default the usual search: `KUBECONFIG`, `~/.kube/config`, the pod's service account */
  readonly kubeconfig?: string
  /** Milliseconds to wait for an answer. @default 5_000 */
  readonly timeoutMs?: number
  readonly logger: Logger
  readonly clock?: Clock
}

/** Milliseconds between a watch's end and the next one. */
const rewatchMs = 500
/** Seconds after which the server ends a watch. */
const timeoutSeconds = 25
/** Key within a Secret that a name of one part stands for. */
const onlyKey = 'value'
const pageSize = 500

/** Secrets of one namespace: `db/password` is the key `password` of the Secret `db`, and `db` alone its key `value`. */
export function createKubernetesSecrets(options: KubernetesSecretsOptions): Secrets & Lifecycle {
  const { namespace, timeoutMs = 5_000, logger, clock = systemClock } = options
  const watches = new Set<SecretWatch>()
  let cluster: Cluster | undefined

  const connected = (): Cluster => {
    if (!cluster) throw new ServiceNotRunningError('The secrets are not running: call start() first')
    return cluster
  }
  const read = async (name: string): Promise<Reading> => {
    const { object, key } = partsOf(name)
    const { api } = connected()
    const secret = await answered(timeoutMs, () => api.readNamespacedSecret({ name: object, namespace })).catch(absent)
    return { value: valueOf(secret, key), version: secret?.metadata?.resourceVersion }
  }

  return {
    capabilities: { liveWatch: true },
    get: async (name) => {
      const { value } = await read(name)
      if (value === undefined) throw new SecretNotFoundError(name, `the namespace ${namespace}`)
      return value
    },
    list: async (prefix = '') => {
      const { api } = connected()
      const names: string[] = []
      let from: string | undefined
      do {
        const page = await answered(timeoutMs, () =>
          api.listNamespacedSecret({ namespace, limit: pageSize, ...(from !== undefined && { _continue: from }) }),
        )
        for (const secret of page.items) names.push(...namesIn(secret))
        from = page.metadata?._continue || undefined
      } while (from !== undefined)
      return names.filter((name) => isSecretName(name) && name.startsWith(prefix)).sort()
    },
    watch: async (name, listener) => {
      const follow = { cluster: connected(), namespace, name, listener, read: () => read(name), logger, clock }
      const watch = await followSecret(follow)
      watches.add(watch)
      return watch
    },
    start: async () => {
      cluster ??= await connect(options.kubeconfig)
    },
    stop: async () => {
      await Promise.all([...watches].map((watch) => watch.stop()))
      cluster = undefined
    },
  }
}

interface Cluster {
  readonly api: CoreV1Api
  readonly config: KubeConfig
  readonly Watch: typeof import('@kubernetes/client-node').Watch
}

interface Reading {
  readonly value: string | undefined
  /** Of the Secret; `undefined` when there is none. */
  readonly version: string | undefined
}

async function connect(kubeconfig: string | undefined): Promise<Cluster> {
  const { KubeConfig, CoreV1Api, Watch } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  if (kubeconfig === undefined) config.loadFromDefault()
  else config.loadFromString(kubeconfig)
  return { config, api: config.makeApiClient(CoreV1Api), Watch }
}

interface Following {
  readonly cluster: Cluster
  readonly namespace: string
  readonly name: string
  readonly listener: (change: SecretChange) => void
  readonly read: () => Promise<Reading>
  readonly logger: Logger
  readonly clock: Clock
}

/**
 * Reads, then watches, and reads again whenever the watch says or ends for whatever reason: an event only says when to
 * look, so a lost one costs time and never a change.
 */
async function followSecret(following: Following): Promise<SecretWatch> {
  const { name, listener, read, logger, clock } = following
  const stop = new AbortController()
  let last = await read()
  listener({ name, value: last.value })
  const look = async (): Promise<void> => {
    const reading = await read()
    const changed = reading.value !== last.value
    last = reading
    if (changed && !stop.signal.aborted) listener({ name, value: reading.value })
  }
  const loop = (async () => {
    while (!stop.signal.aborted) {
      try {
        await watchOnce(following, last.version, stop.signal)
        await look()
      } catch (error) {
        logger.warn('A secret cannot be watched; trying again', { secret: name, error })
      }
      await delay(clock, rewatchMs, stop.signal)
    }
  })()
  return {
    stop: async () => {
      stop.abort()
      await loop
    },
  }
}

/** Resolves at the first event after `version`, when the watch ends or has lasted too long, and when `stop` aborts. */
async function watchOnce(
  { cluster, namespace, name, clock }: Following,
  version: string | undefined,
  stop: AbortSignal,
): Promise<void> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`
  const query = { fieldSelector: `metadata.name=${partsOf(name).object}`, resourceVersion: version, timeoutSeconds }
  const watch = new cluster.Watch(cluster.config)
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: unknown) => {
      stop.removeEventListener('abort', end)
      dropTimer()
      if (error === undefined || error === null || stop.aborted) resolve()
      else reject(error instanceof Error ? error : new Error('the watch broke', { cause: error }))
    }
    let request: AbortController | undefined
    let ended = false
    const end = () => {
      ended = true
      request?.abort()
      settle()
    }
    stop.addEventListener('abort', end, { once: true })
    // The server ends it before. Where it does not, the connection may be dead, and would stay silent for ever.
    const dropTimer = clock.setTimer((timeoutSeconds + 5) * 1_000, end)
    watch
      .watch(path, query, (type: string) => type !== 'BOOKMARK' && end(), settle)
      .then((controller) => {
        request = controller
        if (ended) controller.abort()
      }, settle)
  })
}

function partsOf(name: string): { readonly object: string; readonly key: string } {
  requireSecretName(name)
  const [object = '', key = onlyKey] = name.split('/')
  return { object, key }
}

function valueOf(secret: V1Secret | undefined, key: string): string | undefined {
  const encoded = secret?.data?.[key]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8')
}

function namesIn(secret: V1Secret): string[] {
  const object = secret.metadata?.name ?? ''
  return Object.keys(secret.data ?? {}).map((key) => (key === onlyKey ? object : `${object}/${key}`))
}

async function answered<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([work(), late])
  } catch (error) {
    const code = codeOf(error)
    if (code !== undefined && code < 500) throw error
    throw new ServiceUnavailableError('kubernetes', `The cluster did not answer (${String(error)})`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

function absent(error: unknown): undefined {
  if (codeOf(error) === 404) return undefined
  throw error
}

function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined
}
