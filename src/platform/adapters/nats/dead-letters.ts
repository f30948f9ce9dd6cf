import { z } from 'zod'
import { eventEnvelopeSchema } from '../../event-envelope.ts'
import type { NatsConnection } from './nats-connection.ts'
import { undefinedWhenMissing } from './topic-streams.ts'

const deadLetterSchema = z.object({ event: eventEnvelopeSchema, attempts: z.number(), error: z.string() })

export type DeadLetterMessage = z.infer<typeof deadLetterSchema> & {
  /** Its place in the stream of dead letters. */
  readonly sequence: number
}

interface DeadLetterQuery {
  readonly stream: string
  readonly subject: string
  readonly limit: number
}

/** Reads one subject of the stream of dead letters, oldest first, without a consumer of its own. */
export async function listDeadLetters(
  { manager, call }: NatsConnection,
  { stream, subject, limit }: DeadLetterQuery,
): Promise<DeadLetterMessage[]> {
  const letters: DeadLetterMessage[] = []
  let from = 1
  while (letters.length < limit) {
    const query = { next_by_subj: subject, seq: from }
    const message = await call(() => manager.streams.getMessage(stream, query)).catch(undefinedWhenMissing)
    if (!message) break
    letters.push({ ...deadLetterSchema.parse(message.json()), sequence: message.seq })
    from = message.seq + 1
  }
  return letters
}
