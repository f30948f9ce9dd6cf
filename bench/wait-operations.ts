import { z } from 'zod'
import { projectReadiness } from '../src/kubernetes/readiness.ts'
import { waitForReady } from '../src/kubernetes/wait-for-ready.ts'
import { completed, defineOperation, type PerformContext, waitUntilReady } from '../src/operations/define-operation.ts'

export const apiVersion = 'resourcemanager.miloapis.com/v1alpha1'

const input = z.strictObject({ name: z.string() })
const refOf = (name: string) => ({ apiVersion, kind: 'Project', name })
const common = { title: 'A project', input, timeoutMs: 3_600_000 }

const apply = ({ cluster }: PerformContext, name: string) =>
  cluster('default').apply(
    { apiVersion, kind: 'Project', metadata: { name }, spec: { ownerRef: { kind: 'Organization', name: 'bench' } } },
    { fieldManager: 'bench' },
  )

/** Waits as operations do: parked, without a slot. */
export const durable = defineOperation({
  ...common,
  type: 'bench.durable',
  class: 'short',
  perform: async (context, { name }) => {
    const { metadata } = await apply(context, name)
    return waitUntilReady({ cluster: 'default', ref: refOf(name), uid: metadata.uid, rules: projectReadiness })
  },
  finish: () => ({}),
})

/** Beside it: a promise per wait, that holds a slot. */
export const holding = defineOperation({
  ...common,
  type: 'bench.holding',
  class: 'long',
  perform: async (context, { name }) => {
    const applied = await apply(context, name)
    const { hub, signal } = context
    await waitForReady({ hub, ref: refOf(name), applied, rules: projectReadiness, signal, timeoutMs: 3_600_000 })
    return completed({})
  },
})
