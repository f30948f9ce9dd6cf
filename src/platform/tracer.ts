export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer'
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>

export interface SpanOptions {
  /** @default 'internal' */
  readonly kind?: SpanKind
  readonly attributes?: SpanAttributes
  /** W3C `traceparent` of the span this one continues, from a request, job or event. @default the current span */
  readonly parent?: string
  /** W3C `traceparent`s of spans that caused this one from afar, for example before an approval of days. */
  readonly links?: readonly string[]
}

export interface Span {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** 16 hexadecimal digits. */
  readonly spanId: string
  /** The W3C header for what this span calls. */
  readonly traceparent: string
  setAttributes(attributes: SpanAttributes): void
  addEvent(name: string, attributes?: SpanAttributes): void
  /** Marks the span as failed. */
  recordError(error: unknown): void
  /** Ends the span; a second call changes nothing. */
  end(): void
}

/** Spans that follow the work through promises. Nothing here waits for a network: spans are sent in the background. */
export interface Tracer {
  /** Runs `work` with a new span as the current one; ends it, and records what `work` throws. */
  withSpan<T>(name: string, work: (span: Span) => Promise<T>, options?: SpanOptions): Promise<T>
  /** A span that the caller ends. It does not become the current one. */
  startSpan(name: string, options?: SpanOptions): Span
  /** Trace id of the current span. `undefined` outside any. */
  currentTraceId(): string | undefined
  /** W3C `traceparent` of the current span, to send along with a request, job or event. */
  currentTraceparent(): string | undefined
}
