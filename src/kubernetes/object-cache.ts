import { compareVersions, isRecord, type KubernetesObject, objectKey } from './kubernetes-object.ts'

export interface ObjectChange {
  readonly type: 'added' | 'modified' | 'deleted'
  readonly object: KubernetesObject
}

/** What all objects of a collection have in common. */
export interface CollectionKind {
  readonly apiVersion: string
  readonly kind: string
}

/**
 * One object at rest: the JSON of what is not said elsewhere (by the collection, the key, these fields). A fraction of
 * what the parsed object takes, nobody can change it by accident, and it is read seldom: by a late joiner, for a
 * deletion that nobody announced. Slim objects in one state share one text, which makes them 0.2 KB each.
 */
interface Entry {
  readonly uid: string
  readonly version: string
  readonly text: string
  /** Its version is above its list's: the history was set back. Then it says nothing about older and newer. */
  readonly loose?: true
}

/** The state of one collection, as far as its list and watch have told. Every method returns what changed by it. */
export class ObjectCache {
  readonly #kind: CollectionKind
  #entries = new Map<string, Entry>()
  #slim: boolean
  /** What a running list has found so far. */
  #replacement = new Map<string, Entry>()
  /** Uids deleted since the list began: its pages, and a watch that starts from it anew, may still tell of them. */
  #deleted: Set<string> | undefined
  /** Keys that events have told of since the list began: only these can be newer than it. */
  #touched: Set<string> | undefined
  /** Entries at rest are slim still, and must not be kept. */
  #outgrown = false
  /** Texts of slim objects. Thousands are in one of a few states. */
  readonly #texts = new Map<string, string>()

  /** @param slim keep only what status needs: see `slimObject` */
  constructor(kind: CollectionKind, slim: boolean) {
    this.#kind = kind
    this.#slim = slim
  }

  get size(): number {
    return this.#entries.size
  }

  get slim(): boolean {
    return this.#slim
  }

  /** From now on, whole objects are kept; those at rest become whole with the next `replace`. */
  keepWhole(): void {
    if (this.#slim) this.#outgrown = true
    this.#slim = false
  }

  /** An object by its key (`objectKey`). */
  get(key: string): KubernetesObject | undefined {
    const entry = this.#entries.get(key)
    return entry && this.#read(key, entry)
  }

  has(key: string): boolean {
    return this.#entries.has(key)
  }

  *objects(): Generator<KubernetesObject> {
    for (const [key, entry] of this.#entries) yield this.#read(key, entry)
  }

  /** Takes an ADDED or MODIFIED event. States that are known or older than the known one change nothing. */
  put(object: KubernetesObject): ObjectChange[] {
    const key = objectKey(object.metadata)
    const kept = this.#prune(object)
    const entry = this.#toEntry(kept)
    const known = this.#entries.get(key)
    if (this.#deleted?.has(entry.uid)) return []
    if (known && (isSame(known, entry) || isOlder(entry, known))) return []
    this.#touched?.add(key)
    this.#entries.set(key, entry)
    return this.#changesBetween(key, known, { entry, object: kept })
  }

  /** Takes a DELETED event. */
  remove(object: KubernetesObject): ObjectChange[] {
    const key = objectKey(object.metadata)
    const known = this.#entries.get(key)
    this.#deleted?.add(object.metadata.uid)
    // A namesake made since then is not what was deleted.
    if (known?.uid !== object.metadata.uid) return []
    this.#entries.delete(key)
    return [{ type: 'deleted', object: this.#prune(object) }]
  }

  /** Begins to collect a list. Events may arrive meanwhile. */
  beginReplacement(): void {
    this.#replacement = new Map()
    this.#deleted = new Set()
    this.#touched = new Set()
  }

  addToReplacement(object: KubernetesObject): void {
    const key = objectKey(object.metadata)
    const entry = this.#toEntry(this.#prune(object))
    const known = this.#entries.get(key)
    // Most are as they were: their text is held once.
    this.#replacement.set(key, known && isSame(known, entry) ? known : entry)
  }

  /** The watch has told everything up to now: no state from before can come any more. */
  forgetDeletions(): void {
    this.#deleted = undefined
  }

  /**
   * Makes the list the state, and returns what is different: also deletions that no event announced. What the watch
   * told since the list was made (`version`) stays.
   *
   * @param backwards the server's history was set back (a restored backup): everything known is void
   */
  replace(version: string, backwards: boolean): ObjectChange[] {
    const before = this.#entries
    const found = this.#replacement
    const touched = backwards ? undefined : this.#touched
    this.#entries = new Map()
    this.#replacement = new Map()
    this.#touched = undefined
    const outgrown = this.#outgrown
    this.#outgrown = false
    if (backwards) this.#deleted = undefined
    const changes: ObjectChange[] = []
    for (const [key, listed] of found) {
      const known = before.get(key)
      before.delete(key)
      // Deleted while its page was on its way.
      if (!known && this.#deleted?.has(listed.uid)) continue
      const kept = known && touched?.has(key) && isOlder(listed, known) ? known : loosened(listed, version)
      this.#entries.set(key, kept)
      if (known && (isSame(known, kept) || (outgrown && hasSameVersion(known, kept)))) continue
      changes.push(...this.#changesBetween(key, known, { entry: kept }))
    }
    for (const [key, known] of before) {
      // Made while the list was on its way.
      if (touched?.has(key) && isOlder({ version }, known)) this.#entries.set(key, known)
      else changes.push({ type: 'deleted', object: this.#read(key, known) })
    }
    return changes
  }

  #changesBetween(
    key: string,
    known: Entry | undefined,
    now: { readonly entry: Entry; readonly object?: KubernetesObject },
  ): ObjectChange[] {
    const object = now.object ?? this.#read(key, now.entry)
    if (!known) return [{ type: 'added', object }]
    if (known.uid === now.entry.uid) return [{ type: 'modified', object }]
    // Deleted and made again while we looked away.
    return [
      { type: 'deleted', object: this.#read(key, known) },
      { type: 'added', object },
    ]
  }

  #toEntry({ apiVersion: _a, kind: _k, metadata, ...content }: KubernetesObject): Entry {
    const { name: _n, namespace: _s, uid, resourceVersion, ...rest } = metadata
    const text = JSON.stringify({ metadata: rest, ...content })
    return { uid, version: resourceVersion, text: this.#slim ? this.#shared(text) : text }
  }

  #shared(text: string): string {
    const known = this.#texts.get(text)
    if (known !== undefined) return known
    if (this.#texts.size >= mostSharedTexts) this.#texts.clear()
    this.#texts.set(text, text)
    return text
  }

  #read(key: string, { uid, version, text }: Entry): KubernetesObject {
    // Written by `#toEntry`.
    const { metadata, ...content } = JSON.parse(text) as { metadata: object }
    const slash = key.indexOf('/')
    const identity = { name: key.slice(slash + 1), ...(slash >= 0 && { namespace: key.slice(0, slash) }) }
    return { ...this.#kind, metadata: { ...identity, uid, resourceVersion: version, ...metadata }, ...content }
  }

  #prune(object: KubernetesObject): KubernetesObject {
    return this.#slim ? slimObject(object) : withoutManagedFields(object)
  }
}

// The text too: where a backup was restored, a version may have been given twice.
function isSame(a: Entry, b: Entry): boolean {
  return hasSameVersion(a, b) && a.text === b.text
}

function hasSameVersion(a: Entry, b: Entry): boolean {
  return a.uid === b.uid && a.version === b.version
}

function isOlder({ version }: Pick<Entry, 'version'>, than: Entry): boolean {
  return !than.loose && (compareVersions(version, than.version) ?? 0) < 0
}

function loosened(entry: Entry, listVersion: string): Entry {
  return (compareVersions(entry.version, listVersion) ?? 0) > 0 ? { ...entry, loose: true } : entry
}

function withoutManagedFields(object: KubernetesObject): KubernetesObject {
  if (object.metadata.managedFields === undefined) return object
  const { managedFields: _, ...metadata } = object.metadata
  return { ...object, metadata }
}

/**
 * What readiness needs: identity, generation, deletion, the status without its times, and the plain values at the top
 * of the spec (`replicas`, `runStrategy`). Labels, annotations, owners, managed fields, nested spec and data are left
 * out.
 */
export function slimObject(object: KubernetesObject): KubernetesObject {
  const { name, namespace, uid, resourceVersion, generation, deletionTimestamp, finalizers } = object.metadata
  const spec = isRecord(object['spec']) ? plainValues(object['spec']) : undefined
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    metadata: {
      name,
      ...(namespace !== undefined && { namespace }),
      uid,
      resourceVersion,
      ...(generation !== undefined && { generation }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp, ...(finalizers && { finalizers }) }),
    },
    ...(spec && Object.keys(spec).length > 0 && { spec }),
    ...(object['status'] !== undefined && { status: withoutTimes(object['status']) }),
  }
}

// When a condition changed is the one thing in which objects of one state differ.
function withoutTimes(status: unknown): unknown {
  if (!isRecord(status) || !Array.isArray(status['conditions'])) return status
  const conditions = status['conditions'].map((condition: unknown) => {
    if (!isRecord(condition)) return condition
    const { lastTransitionTime: _t, lastUpdateTime: _u, lastProbeTime: _p, lastHeartbeatTime: _h, ...rest } = condition
    return rest
  })
  return { ...status, conditions }
}

const mostSharedTexts = 1_000
const longestPlainValue = 256

function plainValues(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) => typeof value !== 'object' && !(typeof value === 'string' && value.length > longestPlainValue),
    ),
  )
}
