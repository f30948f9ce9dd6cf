import { checkBasePaths, fillBasePath } from './base-path.ts'
import { type Clock, systemClock } from './clock.ts'
import { ClusterServerError, InvalidObjectError, NotFoundError, TerminatingError } from './cluster-errors.ts'
import { createCredentials, type CredentialSource } from './credentials.ts'
import { type ApiResource, createDiscovery, type Discovery, resourcePath } from './discovery.ts'
import {
  describeRef,
  type DesiredObject,
  isKubernetesObject,
  isRecord,
  type KubernetesObject,
  type ObjectRef,
  refOf,
} from './kubernetes-object.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { StaticCredentials } from './restricted-kubeconfig.ts'
import { type ApiRequest, type ApiResponse, createTransport, type Transport } from './transport.ts'
import { type RawWatchEvent, readWatchLines } from './watch-lines.ts'

export type { DesiredObject, KubernetesObject, ObjectRef } from './kubernetes-object.ts'

export interface CallOptions {
  /** A filled base path (`Cluster.basePathFor`). @default '' (the server itself) */
  readonly basePath?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Milliseconds until the whole answer must be there. @default 30_000 */
  readonly timeoutMs?: number | undefined
}

export interface WriteOptions extends CallOptions {
  /** Ask the server what would happen (`dryRun=All`); nothing changes. A new object then has resourceVersion `''`. @default false */
  readonly dryRun?: boolean | undefined
  /** Called with each warning of admission and deprecation checks. */
  readonly onWarning?: ((text: string) => void) | undefined
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string
  /** Take over fields of other managers. @default false: `ApplyConflictError` names them */
  readonly force?: boolean | undefined
  /** Only if the object still has this uid: else `PreconditionFailedError`. */
  readonly uid?: string | undefined
}

export interface CreateOptions extends WriteOptions {
  readonly fieldManager?: string | undefined
}

export interface DeleteOptions extends WriteOptions {
  /** Only if the object still has this uid: else `PreconditionFailedError`. */
  readonly uid?: string | undefined
  readonly resourceVersion?: string | undefined
  /** What happens to dependents. @default 'Background' */
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan' | undefined
}

/** A collection: the objects of one kind, in one namespace or in all. */
export interface CollectionRef {
  readonly apiVersion: string
  readonly kind: string
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined
  readonly labelSelector?: string | undefined
  readonly fieldSelector?: string | undefined
}

export interface ListOptions extends CallOptions {
  /** Objects per page. @default 500 */
  readonly limit?: number | undefined
  readonly continueToken?: string | undefined
}

export interface ListPage {
  readonly items: readonly KubernetesObject[]
  /** Of the whole collection, at the moment of the first page: where a watch goes on. */
  readonly resourceVersion: string
  readonly continueToken: string | undefined
}

export interface WatchOptions extends CallOptions {
  readonly resourceVersion?: string | undefined
  /** Ask for the state first, as ADDED events, ended by an annotated BOOKMARK (`sendInitialEvents`). @default false */
  readonly initialEvents?: boolean | undefined
  /** Seconds after which the server ends the watch. */
  readonly timeoutSeconds?: number | undefined
}

/** One Kubernetes API endpoint, real or simulated. Every method throws `ClusterError`s, or the signal's reason. */
export interface Cluster {
  readonly name: string
  readonly simulated: boolean
  /** The path that stands before every request to one target, such as an organization's control plane. */
  basePathFor(variables: Readonly<Record<string, string>>): string
  /** `undefined` when there is no such object. A consistent read: never older than an acknowledged write. */
  get(ref: ObjectRef, options?: CallOptions): Promise<KubernetesObject | undefined>
  /** Server-side apply with strict field validation. Throws `TerminatingError` when the object is being deleted. */
  apply(object: DesiredObject, options: ApplyOptions): Promise<KubernetesObject>
  /** Throws `AlreadyExistsError` when the name is taken. */
  create(object: DesiredObject, options?: CreateOptions): Promise<KubernetesObject>
  /** `undefined` when it was gone already, or is gone at once; the object while finalizers hold it. */
  delete(ref: ObjectRef, options?: DeleteOptions): Promise<KubernetesObject | undefined>
  /** One page of a consistent list. */
  list(collection: CollectionRef, options?: ListOptions): Promise<ListPage>
  /** Events until the server or the signal ends the watch. */
  watch(collection: CollectionRef, options: WatchOptions): Promise<AsyncIterable<RawWatchEvent>>
  /** How the server offers a kind. */
  find(apiVersion: string, kind: string, options?: CallOptions): Promise<ApiResource>
  /** Any request, its path below server and base path: subresources and what else has no method here. */
  request(request: ApiRequest & { readonly basePath?: string | undefined }): Promise<ApiResponse>
  /** The server's version, such as `v1.32.1`: cheap, and proves that it can be reached. */
  version(options?: CallOptions): Promise<string>
  /** Ends everything in flight. Safe to call twice. */
  stop(): Promise<void>
}

export interface ConnectOptions {
  /** As in the API: unique among the clusters of a tenant. */
  readonly name: string
  /** Path of a kubeconfig (or several, as in `KUBECONFIG`), or its YAML. Ours, not a user's: it may run programs. */
  readonly kubeconfig?: string
  readonly context?: string
  /** Use the service account of the pod that we run in. */
  readonly inCluster?: boolean
  /** What `parseRestrictedKubeconfig` made of a user's kubeconfig, or our own static credentials. */
  readonly credentials?: StaticCredentials
  /** Templates, such as `/apis/…/organizations/{org}/control-plane`. @default none */
  readonly basePath?: string | readonly string[]
  /** Everything that shows this cluster says "simulated". @default false */
  readonly simulated?: boolean
  readonly clock?: Clock
  /** Calls that are part of a trace get a span, and carry it on to the server. @default no trace */
  readonly tracer?: Tracer | undefined
}

/** Connects lazily: nothing is read or sent before the first call. */
export function connectCluster(options: ConnectOptions): Cluster {
  const clock = options.clock ?? systemClock
  const basePaths = options.basePath === undefined ? [] : [options.basePath].flat()
  checkBasePaths(basePaths)
  const transport = createTransport({
    name: options.name,
    credentials: createCredentials(sourceOf(options), clock),
    clock,
    refuse: options.credentials?.refuse,
    tracer: options.tracer,
  })
  return createCluster({ name: options.name, simulated: options.simulated ?? false, basePaths, transport, clock })
}

function sourceOf(options: ConnectOptions): CredentialSource {
  const given = [options.kubeconfig, options.inCluster || undefined, options.credentials].filter(
    (each) => each !== undefined,
  )
  if (given.length !== 1) throw new TypeError('Give exactly one of kubeconfig, inCluster and credentials.')
  if (options.credentials) return { kind: 'static', credentials: options.credentials }
  if (options.kubeconfig === undefined) return { kind: 'in-cluster' }
  return { kind: 'kubeconfig', kubeconfig: options.kubeconfig, context: options.context }
}

interface ClusterParts {
  readonly name: string
  readonly simulated: boolean
  readonly basePaths: readonly string[]
  readonly transport: Transport
  readonly clock: Clock
}

/** A cluster over any transport. */
function createCluster(parts: ClusterParts): Cluster {
  const { transport } = parts
  const discovery = createDiscovery(transport, parts.clock)
  const calls = new ClusterCalls(transport, discovery)
  return {
    name: parts.name,
    simulated: parts.simulated,
    basePathFor: (variables) => fillBasePath(parts.basePaths, variables),
    get: (ref, options = {}) => calls.get(ref, options),
    apply: (object, options) => calls.apply(object, options),
    create: (object, options = {}) => calls.create(object, options),
    delete: (ref, options = {}) => calls.delete(ref, options),
    list: (collection, options = {}) => calls.list(collection, options),
    watch: (collection, options) => calls.watch(collection, options),
    find: (apiVersion, kind, options = {}) =>
      discovery.find({ basePath: options.basePath ?? '', apiVersion, kind, signal: options.signal }),
    request: ({ basePath = '', ...request }) => transport.request({ ...request, path: `${basePath}${request.path}` }),
    version: (options = {}) => calls.version(options),
    stop: () => transport.stop(),
  }
}

class ClusterCalls {
  readonly #transport: Transport
  readonly #discovery: Discovery

  constructor(transport: Transport, discovery: Discovery) {
    this.#transport = transport
    this.#discovery = discovery
  }

  async get(ref: ObjectRef, options: CallOptions): Promise<KubernetesObject | undefined> {
    const path = await this.#objectPath(ref, options)
    try {
      return readObject((await this.#transport.request({ method: 'GET', path, ...callOf(options) })).body, ref)
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
      this.#forget(error, ref, options)
      return undefined
    }
  }

  async apply(object: DesiredObject, options: ApplyOptions): Promise<KubernetesObject> {
    const ref = refOf(object)
    // The uid in the body is a fence: 409 when the object is gone, 422 when it is another one.
    const body = options.uid === undefined ? object : { ...object, metadata: { ...object.metadata, uid: options.uid } }
    const answer = await this.#write(ref, options, {
      method: 'PATCH',
      path: await this.#objectPath(ref, options),
      query: {
        fieldManager: options.fieldManager,
        fieldValidation: 'Strict',
        force: options.force ? true : undefined,
        dryRun: options.dryRun ? 'All' : undefined,
      },
      body,
      contentType: 'application/apply-patch+yaml',
    })
    const applied = readObject(answer.body, ref)
    // Applying to an object that is being deleted succeeds, and comes to nothing.
    if (applied.metadata.deletionTimestamp !== undefined) {
      throw new TerminatingError(`${describeRef(ref)} is being deleted since ${applied.metadata.deletionTimestamp}.`)
    }
    return applied
  }

  async create(object: DesiredObject, options: CreateOptions): Promise<KubernetesObject> {
    const ref = refOf(object)
    const answer = await this.#write(ref, options, {
      method: 'POST',
      path: await this.#collectionPath(ref, options),
      query: {
        fieldManager: options.fieldManager,
        fieldValidation: 'Strict',
        dryRun: options.dryRun ? 'All' : undefined,
      },
      body: object,
    })
    return readObject(answer.body, ref)
  }

  async delete(ref: ObjectRef, options: DeleteOptions): Promise<KubernetesObject | undefined> {
    const { uid, resourceVersion } = options
    const preconditions =
      uid === undefined && resourceVersion === undefined ? {} : { preconditions: { uid, resourceVersion } }
    try {
      const answer = await this.#transport.request({
        method: 'DELETE',
        path: await this.#objectPath(ref, options),
        query: { dryRun: options.dryRun ? 'All' : undefined },
        body: {
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          propagationPolicy: options.propagation ?? 'Background',
          ...preconditions,
        },
        ...callOf(options),
      })
      for (const text of answer.warnings) options.onWarning?.(text)
      // Gone at once: the server answers a Status, or (pods) the last state of the object.
      return isKubernetesObject(answer.body) ? readObject(answer.body, ref) : undefined
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
      this.#forget(error, ref, options)
      return undefined
    }
  }

  async list(collection: CollectionRef, options: ListOptions): Promise<ListPage> {
    const answer = await this.#transport.request({
      method: 'GET',
      path: await this.#collectionPath(collection, options),
      query: {
        limit: options.limit ?? 500,
        continue: options.continueToken,
        labelSelector: collection.labelSelector,
        fieldSelector: collection.fieldSelector,
      },
      ...callOf(options),
    })
    return readPage(answer.body, collection)
  }

  async watch(collection: CollectionRef, options: WatchOptions): Promise<AsyncIterable<RawWatchEvent>> {
    const initial = options.initialEvents
      ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' }
      : { resourceVersion: options.resourceVersion }
    const chunks = await this.#transport.stream({
      method: 'GET',
      path: await this.#collectionPath(collection, options),
      query: {
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds: options.timeoutSeconds,
        labelSelector: collection.labelSelector,
        fieldSelector: collection.fieldSelector,
        ...initial,
      },
      ...callOf(options),
    })
    return readWatchLines(chunks)
  }

  async version(options: CallOptions): Promise<string> {
    const path = `${options.basePath ?? ''}/version`
    const { body } = await this.#transport.request({ method: 'GET', path, ...callOf(options) })
    const version = isRecord(body) ? body['gitVersion'] : undefined
    if (typeof version !== 'string') throw new ClusterServerError(`${path} answered no version: is this an API server?`)
    return version
  }

  async #write(ref: ObjectRef, options: WriteOptions, request: ApiRequest): Promise<ApiResponse> {
    try {
      const answer = await this.#transport.request({ ...request, ...callOf(options) })
      for (const text of answer.warnings) options.onWarning?.(text)
      return answer
    } catch (error) {
      if (error instanceof NotFoundError) this.#forget(error, ref, options)
      throw error
    }
  }

  // A path that the server no longer knows: the kind's definition is gone or changed.
  #forget(error: NotFoundError, ref: CollectionRef, options: CallOptions): void {
    if (!error.knowsKind) this.#discovery.forget(options.basePath ?? '', ref.apiVersion)
  }

  async #objectPath(ref: ObjectRef, options: CallOptions): Promise<string> {
    const resource = await this.#find(ref, options)
    checkScope(resource, ref)
    return resourcePath(options.basePath ?? '', resource, ref)
  }

  async #collectionPath(collection: CollectionRef | ObjectRef, options: CallOptions): Promise<string> {
    const resource = await this.#find(collection, options)
    if ('name' in collection) checkScope(resource, collection)
    return resourcePath(options.basePath ?? '', resource, { namespace: collection.namespace })
  }

  #find({ apiVersion, kind }: CollectionRef, { basePath = '', signal }: CallOptions): Promise<ApiResource> {
    return this.#discovery.find({ basePath, apiVersion, kind, signal })
  }
}

// The server would answer 404 or 405, which say nothing about the reason.
function checkScope(resource: ApiResource, ref: ObjectRef): void {
  if (resource.namespaced === (ref.namespace !== undefined)) return
  throw new InvalidObjectError(
    resource.namespaced
      ? `${ref.kind} ${ref.name} needs a namespace: ${resource.resource} are namespaced.`
      : `${ref.kind} ${ref.name} must not have a namespace: ${resource.resource} are cluster-scoped.`,
  )
}

function callOf(options: CallOptions): Pick<ApiRequest, 'signal' | 'timeoutMs'> {
  return { signal: options.signal, timeoutMs: options.timeoutMs }
}

function readObject(body: unknown, ref: { readonly apiVersion: string; readonly kind: string }): KubernetesObject {
  const stored = withVersion(body)
  if (!isKubernetesObject(stored)) throw new ClusterServerError(`The API server answered no ${ref.kind}.`)
  return stored
}

// What a dry run would create was never stored, and so has no version.
function withVersion(body: unknown): unknown {
  if (!isRecord(body) || !isRecord(body['metadata']) || body['metadata']['resourceVersion'] !== undefined) return body
  return { ...body, metadata: { ...body['metadata'], resourceVersion: '' } }
}

function readPage(body: unknown, { apiVersion, kind }: CollectionRef): ListPage {
  const meta = isRecord(body) && isRecord(body['metadata']) ? body['metadata'] : undefined
  if (!isRecord(body) || !meta || typeof meta['resourceVersion'] !== 'string') {
    throw new ClusterServerError(`The API server answered no list of ${kind}.`)
  }
  const items = Array.isArray(body['items']) ? body['items'] : []
  return {
    // Items of a list carry no apiVersion and kind of their own in built-in groups.
    items: items.filter(isKubernetesObject).map((item) => (item.kind ? item : { ...item, apiVersion, kind })),
    resourceVersion: meta['resourceVersion'],
    continueToken: typeof meta['continue'] === 'string' && meta['continue'] !== '' ? meta['continue'] : undefined,
  }
}
