import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { SpanKind, Tracer } from '../../platform/tracer.ts'
import type { ConformanceSuite } from './conformance-case.ts'

/** A span as it arrived where spans go. */
export interface FinishedSpan {
  readonly name: string
  readonly kind: SpanKind
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly attributes: Readonly<Record<string, unknown>>
  readonly events: readonly string[]
  readonly linkedTraceIds: readonly string[]
  readonly failed: boolean
}

export interface TracerSubject {
  readonly tracer: Tracer
  /** The finished spans of one trace, once there are as many. */
  readonly finished: (traceId: string, count: number) => Promise<readonly FinishedSpan[]>
}

/** The header of a span in another process, whose trace no other case uses. */
function remoteSpan() {
  const traceId = randomBytes(16).toString('hex')
  const spanId = randomBytes(8).toString('hex')
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` }
}

/** What every `Tracer` promises. */
export const tracerConformance: ConformanceSuite<TracerSubject> = [
  {
    name: 'has no current trace outside a span',
    run: async ({ tracer }) => {
      assert.equal(tracer.currentTraceId(), undefined)
      assert.equal(tracer.currentTraceparent(), undefined)
    },
  },
  {
    name: 'keeps the current span through promises and timers, and gives it back afterwards',
    run: async ({ tracer }) => {
      await tracer.withSpan('outer', async (outer) => {
        assert.match(outer.traceId, /^[0-9a-f]{32}$/)
        assert.match(outer.spanId, /^[0-9a-f]{16}$/)
        assert.equal(outer.traceparent, `00-${outer.traceId}-${outer.spanId}-01`)
        await new Promise((resolve) => setImmediate(resolve))
        assert.equal(tracer.currentTraceparent(), outer.traceparent)
        await tracer.withSpan('inner', async (inner) => {
          assert.equal(inner.traceId, outer.traceId)
          assert.equal(tracer.currentTraceparent(), inner.traceparent)
        })
        assert.equal(tracer.currentTraceparent(), outer.traceparent)
        const [inner] = await Promise.all([
          tracer.withSpan('one', async () => tracer.currentTraceparent()),
          tracer.withSpan('two', async () => undefined),
        ])
        assert.notEqual(inner, outer.traceparent)
      })
      assert.equal(tracer.currentTraceId(), undefined)
    },
  },
  {
    name: 'returns what the work returns; records, ends and passes on what it throws',
    run: async ({ tracer, finished }) => {
      assert.equal(await tracer.withSpan('fine', async () => 7), 7)
      const fault = new Error('as planned')
      let id = ''
      const failing = tracer.withSpan('failing', async (span) => {
        id = span.traceId
        throw fault
      })
      await assert.rejects(failing, (error) => error === fault)
      assert.equal((await finished(id, 1))[0]?.failed, true)
    },
  },
  {
    name: 'sends spans with parent, kind, attributes and events',
    run: async ({ tracer, finished }) => {
      const id = await tracer.withSpan(
        'accept',
        async (span) => {
          span.setAttributes({ attempt: 2 })
          span.addEvent('queued')
          await tracer.withSpan('insert', async () => undefined, { kind: 'client' })
          return span.traceId
        },
        { kind: 'server', attributes: { taskId: 'task_1' } },
      )
      const spans = await finished(id, 2)
      const accept = spans.find((span) => span.name === 'accept')
      const insert = spans.find((span) => span.name === 'insert')
      assert.equal(accept?.kind, 'server')
      assert.deepEqual(accept?.attributes, { taskId: 'task_1', attempt: 2 })
      assert.deepEqual(accept?.events, ['queued'])
      assert.equal(accept?.parentSpanId, undefined)
      assert.equal(accept?.failed, false)
      assert.equal(insert?.kind, 'client')
      assert.equal(insert?.parentSpanId, accept?.spanId)
    },
  },
  {
    name: 'continues the trace of a W3C header, and begins a new one when the header is none',
    run: async ({ tracer }) => {
      const { traceId, traceparent } = remoteSpan()
      await tracer.withSpan('continued', async (span) => assert.equal(span.traceId, traceId), { parent: traceparent })
      for (const parent of ['', 'nonsense', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]) {
        await tracer.withSpan('new', async (span) => assert.match(span.traceId, /[1-9a-f]/), { parent })
      }
    },
  },
  {
    name: 'links to spans from afar without continuing them',
    run: async ({ tracer, finished }) => {
      const { traceId, traceparent } = remoteSpan()
      const options = { links: [traceparent, 'nonsense'] }
      const id = await tracer.withSpan('decided after days', async (span) => span.traceId, options)
      assert.notEqual(id, traceId)
      assert.deepEqual((await finished(id, 1))[0]?.linkedTraceIds, [traceId])
    },
  },
  {
    name: 'a span started by hand is not current, ends once, and takes nothing afterwards',
    run: async ({ tracer, finished }) => {
      const { traceId, spanId, traceparent } = remoteSpan()
      const span = tracer.startSpan('by hand', { parent: traceparent })
      assert.equal(tracer.currentTraceId(), undefined)
      assert.equal(span.traceId, traceId)
      span.setAttributes({ before: true })
      span.end()
      span.setAttributes({ after: true })
      span.end()
      const sent = (await finished(traceId, 1)).filter((other) => other.spanId === span.spanId)
      assert.equal(sent.length, 1)
      assert.deepEqual(sent[0]?.attributes, { before: true })
      assert.equal(sent[0]?.parentSpanId, spanId)
    },
  },
]
