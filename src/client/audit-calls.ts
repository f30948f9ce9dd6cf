import {
  type AuditFilter,
  type AuditFinding,
  type AuditHead,
  auditHeadSchema,
  type AuditPage,
  auditPageSchema,
  auditVerifiedSchema,
} from '../contract/audit.ts'
import type { Exchange } from './exchange.ts'

interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** The whole chain of a tenant, verified. */
export interface VerifiedAudit {
  /** How many were looked at. */
  readonly events: number
  readonly findings: readonly AuditFinding[]
  /** The end of the chain. */
  readonly position: number
  readonly hash: string
  /** Too new to be sealed. */
  readonly unsealed: number
  readonly oldestUnsealedAt: string | null
}

export interface VerifyAuditOptions extends CallOptions {
  /** One that was kept elsewhere: without it a chain that was cut off or rewritten whole looks like a whole one. */
  readonly head?: Pick<AuditHead, 'position' | 'hash'> | undefined
  /** After each answer: how far the chain is verified. */
  readonly onProgress?: ((position: number) => void) | undefined
}

/** The audit: part of the client. Every method throws as the others do. */
export interface AuditCalls {
  /** Newest first. */
  listAudit(
    filter?: AuditFilter,
    options?: CallOptions & { readonly pageSize?: number | undefined; readonly pageToken?: string | undefined },
  ): Promise<AuditPage>
  /** All of it, oldest first, as it comes. A stream that breaks off has not told all. */
  exportAudit(format: 'json' | 'csv', filter?: AuditFilter, options?: CallOptions): Promise<ReadableStream<Uint8Array>>
  auditHead(options?: CallOptions): Promise<AuditHead>
  /** Compares the log with its seals, from its beginning to its end: a minute for a million events. */
  verifyAudit(options?: VerifyAuditOptions): Promise<VerifiedAudit>
}

export function createAuditCalls(exchange: Exchange): AuditCalls {
  return {
    listAudit: (filter = {}, { pageSize, pageToken, signal } = {}) =>
      exchange.request(auditPageSchema, {
        path: '/audit',
        query: { ...filter, page_size: pageSize, page_token: pageToken },
        signal,
      }),
    exportAudit: async (format, filter = {}, { signal } = {}) => {
      const response = await exchange.open({ path: '/audit/export', query: { ...filter, format }, signal })
      return response.body ?? new ReadableStream({ start: (empty) => empty.close() })
    },
    auditHead: ({ signal } = {}) => exchange.request(auditHeadSchema, { path: '/audit/head', signal }),
    verifyAudit: (options = {}) => verifyAudit(exchange, options),
  }
}

async function verifyAudit(
  exchange: Exchange,
  { head, onProgress, signal }: VerifyAuditOptions,
): Promise<VerifiedAudit> {
  const findings: AuditFinding[] = []
  let events = 0
  let token: string | undefined
  for (;;) {
    const query = { head_position: head?.position, head_hash: head?.hash, page_token: token }
    const part = await exchange.request(auditVerifiedSchema, { path: '/audit/verify', query, signal })
    findings.push(...part.findings)
    events += part.events
    onProgress?.(part.position)
    token = part.next_page_token ?? undefined
    if (token === undefined) {
      const { position, hash, unsealed, oldest_unsealed_at: oldestUnsealedAt } = part
      return { events, findings, position, hash, unsealed, oldestUnsealedAt }
    }
  }
}
