import { shortHash } from '../../subscription-settings.ts'
import type { NatsConnection } from './nats-connection.ts'

export interface TopicStream {
  readonly stream: string
  /** One subject per partition. Events with one key go to one partition, and each is consumed strictly in order. */
  readonly partitions: readonly string[]
  /** Subject of events that one subscription gets once more. */
  again(subscription: string): string
  readonly deadStream: string
  dead(subscription: string): string
}

export interface StreamSettings {
  /** Partitions of a topic's stream when it is made; an existing stream keeps its own. */
  readonly partitions: number
  readonly deduplicationWindowMs: number
  /** Copies of each message in a cluster. */
  readonly replicas: number
}

const nanosPerMs = 1_000_000

/** Makes a topic's streams if they are missing, and says how they are laid out. */
export async function ensureTopicStreams(
  { manager, call }: NatsConnection,
  topic: string,
  settings: StreamSettings,
): Promise<TopicStream> {
  const names = topicNames(topic)
  const subjects = [...Array(settings.partitions).keys()].map((partition) => `${names.base}.${partition}`)
  const existing = await call(() => manager.streams.info(names.stream)).catch(undefinedWhenMissing)
  const info =
    existing ??
    (await call(() =>
      manager.streams.add({
        name: names.stream,
        subjects: [...subjects, `${names.base}.again.*`],
        // Kept until every durable subscription has settled it, and not at all where there is none.
        retention: 'interest',
        storage: 'file',
        num_replicas: settings.replicas,
        duplicate_window: settings.deduplicationWindowMs * nanosPerMs,
      }),
    ))
  await call(() =>
    manager.streams.add({
      name: names.deadStream,
      subjects: [`${names.deadBase}.*`],
      storage: 'file',
      num_replicas: settings.replicas,
    }),
  )
  return { ...names, partitions: info.config.subjects.filter((subject) => !subject.includes('.again.')) }
}

function topicNames(topic: string) {
  // Stream names and subject parts hold no dots; the hash keeps apart what the replacement would join.
  const token = `${topic.replaceAll('.', '_')}-${shortHash(topic)}`
  const base = `sluice.${token}`
  const deadBase = `sluice-dead.${token}`
  return {
    base,
    deadBase,
    stream: `sluice-${token}`,
    deadStream: `sluice-dead-${token}`,
    again: (subscription: string) => `${base}.again.${subscription}`,
    dead: (subscription: string) => `${deadBase}.${subscription}`,
  }
}

/** Names of a subscription's durable consumers, one per subject. */
export function consumersOf(
  layout: TopicStream,
  subscription: string,
): { readonly name: string; readonly subject: string }[] {
  return [
    ...layout.partitions.map((subject, partition) => ({ name: `${subscription}-p${partition}`, subject })),
    { name: `${subscription}-again`, subject: layout.again(subscription) },
  ]
}

/** Partition of a key: the same for every publisher. Events without a key are spread. */
export function choosePartition(layout: TopicStream, key: string): string {
  const index = Number.parseInt(shortHash(key).slice(0, 8), 16) % layout.partitions.length
  return layout.partitions[index] ?? `${layout.stream}.0`
}

/** For a call whose stream, consumer or message may not be there. */
export function undefinedWhenMissing(error: unknown): undefined {
  if (error instanceof Error && 'status' in error && error.status === 404) return undefined
  throw error
}
