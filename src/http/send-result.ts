import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ObjectNotFoundError, type StoredObject } from '../platform/object-storage.ts'
import type { StoredResultRow } from '../tasks/stored-results.sql.ts'
import type { TaskRow } from '../tasks/task-view.ts'
import { isStored } from '../tasks/result-store.ts'
import { matchesTag } from './matches-tag.ts'
import { HttpProblem } from './problems.ts'
import type { Services } from './services.ts'

export interface ResultRequest {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly tenant: string
  readonly task: TaskRow
}

/** Answers a completed task's result: from its row, or streamed from where it is stored. */
export async function sendResult(services: Services, { request, reply, tenant, task }: ResultRequest) {
  if (task.status !== 'COMPLETED' || task.result === null) {
    throw new HttpProblem('no_result', { detail: `The task is ${task.status}: only a completed one has a result.` })
  }
  const stored = isStored(task.result) ? await findStored(services, tenant, task.task_id) : undefined
  const text = stored ? '' : JSON.stringify(task.result)
  const etag = `"${stored?.sha256 ?? createHash('sha256').update(text).digest('hex')}"`
  void reply.header('etag', etag).header('cache-control', 'private, no-cache')
  if (matchesTag(request, etag)) return reply.status(304).send()
  if (!stored) return reply.type('application/json').serializer(String).send(text)
  const { body } = await open(services, stored)
  void reply.type(stored.media_type).header('content-length', stored.bytes)
  // Whatever it holds: a browser saves it, and takes it for nothing else.
  void reply.header('content-disposition', 'attachment').header('x-content-type-options', 'nosniff')
  // Node's type of a web stream and the platform's differ in name only.
  return reply.send(Readable.fromWeb(body as ReadableStream))
}

async function findStored({ results }: Services, tenant: string, taskId: string): Promise<StoredResultRow> {
  if (!results) {
    const detail =
      'The result is in the object storage, and this process has none: start it with --objects as the worker.'
    throw new HttpProblem('result_unavailable', { detail })
  }
  const row = await results.find(tenant, taskId)
  if (!row) throw gone()
  return row
}

async function open({ results }: Services, row: StoredResultRow): Promise<StoredObject> {
  if (!results) throw gone()
  try {
    return await results.open(row)
  } catch (error) {
    if (error instanceof ObjectNotFoundError) throw gone(error)
    const detail = 'The object storage cannot be read now. Try again later.'
    throw new HttpProblem('result_unavailable', { detail, cause: error })
  }
}

const gone = (cause?: unknown) =>
  new HttpProblem('result_unavailable', { detail: 'The result is no longer where it was stored.', cause })
