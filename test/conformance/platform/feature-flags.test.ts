import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TypedInMemoryProvider } from '@openfeature/server-sdk'
import { createOpenFeatureFlags } from '../../../src/platform/adapters/openfeature/openfeature-flags.ts'
import { createMemoryFeatureFlags } from '../../../src/platform/memory/memory-feature-flags.ts'
import { createMemoryLogger } from '../../../src/platform/memory/memory-logger.ts'
import { featureFlagsConformance } from '../../../src/testing/platform-conformance.ts'
import { describeSuite } from './support/describe-suite.ts'

const logger = createMemoryLogger()
const shape = { sides: 4, tags: ['flat'] }

describeSuite('feature flags: memory', featureFlagsConformance, async () => {
  const flags = { on: true, off: false, limit: 5, color: 'blue', shape }
  const featureFlags = createMemoryFeatureFlags({ ...flags, 'early-access': ({ tenant }) => tenant === 'acme' })
  return { subject: { featureFlags }, stop: async () => undefined }
})

describeSuite('feature flags: openfeature with a file', featureFlagsConformance, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-flags-'))
  const file = join(folder, 'flags.json')
  const fixed = (value: unknown) => ({ state: 'ENABLED', variants: { only: value }, defaultVariant: 'only' })
  const flags = {
    on: fixed(true),
    off: fixed(false),
    limit: fixed(5),
    color: fixed('blue'),
    shape: fixed(shape),
    'early-access': {
      state: 'ENABLED',
      variants: { yes: true, no: false },
      defaultVariant: 'no',
      targeting: { if: [{ '==': [{ var: 'tenant' }, 'acme'] }, 'yes', 'no'] },
    },
  }
  await writeFile(file, JSON.stringify({ flags }))
  const featureFlags = createOpenFeatureFlags({ file, logger })
  await featureFlags.start()
  const stop = async () => {
    await featureFlags.stop()
    await rm(folder, { recursive: true })
  }
  return { subject: { featureFlags }, stop }
})

describeSuite('feature flags: openfeature with a provider of its own', featureFlagsConformance, async () => {
  const fixed = <T>(value: T) => ({ disabled: false, variants: { only: value }, defaultVariant: 'only' as const })
  const provider = new TypedInMemoryProvider({
    on: fixed(true),
    off: fixed(false),
    limit: fixed(5),
    color: fixed('blue'),
    shape: fixed(shape),
    'early-access': {
      disabled: false,
      variants: { yes: true, no: false },
      defaultVariant: 'no',
      contextEvaluator: (context) => (context['tenant'] === 'acme' ? 'yes' : 'no'),
    },
  })
  const featureFlags = createOpenFeatureFlags({ provider, logger })
  await featureFlags.start()
  return { subject: { featureFlags }, stop: () => featureFlags.stop() }
})
