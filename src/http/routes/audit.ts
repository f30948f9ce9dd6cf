import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { auditCsvHeader, toAuditCsv } from '../../audit/audit-csv.ts'
import { type AuditCursor, exportAudit, listAudit } from '../../audit/audit-log.ts'
import type { AuditQuery } from '../../audit/audit-log.sql.ts'
import { readHead, verifyTenant } from '../../audit/audit-chain.ts'
import {
  type AuditEntry,
  type AuditFilter,
  auditFilterSchema,
  auditHeadSchema,
  auditListQuerySchema,
  auditPageSchema,
  auditVerifiedSchema,
  auditVerifyQuerySchema,
} from '../../contract/audit.ts'
import { fromWireId } from '../../contract/ids.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'
import { watchAccess } from '../watch-access.ts'

/** The log as the audit: read, exported, and compared with its seals. */
export function auditRoutes(app: App, services: Services): void {
  const { database } = services
  const config = { permission: 'audit.read' as const }
  app.get(
    '/audit',
    {
      config,
      schema: {
        summary: 'The log of the tenant, newest first',
        querystring: auditListQuerySchema,
        response: { 200: auditPageSchema },
      },
    },
    async (request) => {
      const { page_size: size, page_token: token, ...filter } = request.query
      const { tenant } = callerOf(request)
      const behind = token === undefined ? undefined : readCursor(token)
      const reading = { tenant, query: toQuery(filter), order: 'newest first' as const, behind }
      const { items, next } = await listAudit(database, reading, size)
      return { items, next_page_token: next ? `${next.seq}.${next.run ?? ''}` : null }
    },
  )

  app.get(
    '/audit/export',
    {
      config,
      schema: {
        summary: 'All of it, oldest first, as it is read: a JSON array, or CSV',
        querystring: auditFilterSchema.extend({ format: z.enum(['json', 'csv']).default('json') }),
      },
    },
    (request, reply) => {
      const { format, ...filter } = request.query
      const { tenant } = callerOf(request)
      const entries = exportAudit(database, { tenant, query: toQuery(filter) })
      void reply
        .type(format === 'csv' ? 'text/csv; charset=utf-8; header=present' : 'application/json; charset=utf-8')
        .header('content-disposition', `attachment; filename="audit-${tenant}.${format}"`)
        .header('cache-control', 'no-store')
      return reply.send(streamOf(services, { request, reply }, format === 'csv' ? csvOf(entries) : jsonOf(entries)))
    },
  )

  app.get(
    '/audit/head',
    {
      config,
      schema: { summary: 'The end of the tenant’s chain, to be kept elsewhere', response: { 200: auditHeadSchema } },
    },
    (request) => readHead(database, callerOf(request).tenant),
  )

  app.get(
    '/audit/verify',
    {
      config,
      schema: {
        summary: 'Compare the log with its seals, some seconds at a time',
        querystring: auditVerifyQuerySchema,
        response: { 200: auditVerifiedSchema },
      },
    },
    async (request) => {
      const { head_position: position, head_hash: hash, page_token: token } = request.query
      if ((position === undefined) !== (hash === undefined)) {
        throw new HttpProblem('invalid_input', { detail: 'A head has both, head_position and head_hash.' })
      }
      const head = position === undefined || hash === undefined ? undefined : { position, hash }
      const verified = await verifyTenant(database, { tenant: callerOf(request).tenant, head, token })
      if (!verified) throw badToken()
      return verified
    },
  )
}

function toQuery({ task_id, token_id: tokenId, since, until, ...filter }: AuditFilter): AuditQuery {
  const taskId = task_id === undefined ? undefined : fromWireId('task', task_id)
  if (task_id !== undefined && taskId === undefined) {
    const errors = [{ pointer: '/task_id', message: 'is not a task id' }]
    throw new HttpProblem('invalid_input', { detail: `${task_id} is not a task id.`, errors })
  }
  const time = (text: string | undefined) => (text === undefined ? undefined : new Date(text))
  return { ...filter, taskId, tokenId, since: time(since), until: time(until) }
}

function readCursor(token: string): AuditCursor {
  const [seq = '', run = ''] = token.split('.')
  return { seq, run: run === '' ? undefined : run }
}

const badToken = () =>
  new HttpProblem('invalid_page_token', { detail: 'page_token is not one that an answer returned.' })

/**
 * The pieces as the reader takes them. An export lasts: it ends with the token that it was asked with, and in the middle,
 * so that nobody takes it for the whole.
 */
function streamOf(
  services: Services,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  pieces: AsyncIterable<string>,
): Readable {
  const stream = Readable.from(pieces, { objectMode: false })
  const stopWatching = watchAccess(services, request, () => stream.destroy(new Error('access was lost')))
  stream.once('error', (error) => {
    services.logger.warn('an export of the audit broke off', { traceId: request.id, error })
    // A clean end of the response would look like the end of the log.
    reply.raw.destroy()
  })
  stream.once('close', stopWatching)
  return stream
}

async function* jsonOf(chunks: AsyncIterable<readonly AuditEntry[]>): AsyncGenerator<string, void, undefined> {
  let before = '[\n'
  for await (const entries of chunks) {
    yield before + entries.map((entry) => JSON.stringify(entry)).join(',\n')
    before = ',\n'
  }
  yield before === '[\n' ? '[]\n' : '\n]\n'
}

async function* csvOf(chunks: AsyncIterable<readonly AuditEntry[]>): AsyncGenerator<string, void, undefined> {
  yield auditCsvHeader
  for await (const entries of chunks) yield entries.map(toAuditCsv).join('')
}
