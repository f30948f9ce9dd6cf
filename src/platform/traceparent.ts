const pattern = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

export interface TraceIds {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

/** Reads a W3C `traceparent`. `undefined` when it is not one: a wrong header must not fail the request that carries it. */
export function parseTraceparent(header: string | null | undefined): TraceIds | undefined {
  const match = pattern.exec(header ?? '')
  const [, traceId = '', spanId = '', flags = '00'] = match ?? []
  if (!match || /^0+$/.test(traceId) || /^0+$/.test(spanId) || header?.startsWith('ff')) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceIds): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`
}
