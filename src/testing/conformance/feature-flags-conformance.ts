import assert from 'node:assert/strict'
import type { FeatureFlags } from '../../platform/feature-flags.ts'
import type { ConformanceSuite } from './conformance-case.ts'

export interface FeatureFlagsSubject {
  /**
   * Holds `on` = true, `off` = false, `limit` = 5, `color` = 'blue', `shape` = { sides: 4, tags: ['flat'] }, and
   * `early-access`, which is true for the tenant `acme` and false for everybody else.
   */
  readonly featureFlags: FeatureFlags
}

/** What every `FeatureFlags` promises. */
export const featureFlagsConformance: ConformanceSuite<FeatureFlagsSubject> = [
  {
    name: 'answers what a flag says, whatever the fallback',
    run: async ({ featureFlags }) => {
      assert.equal(await featureFlags.isEnabled('on'), true)
      assert.equal(await featureFlags.isEnabled('off', {}, true), false)
      assert.equal(await featureFlags.getValue('on', false), true)
      assert.equal(await featureFlags.getValue('limit', 1), 5)
      assert.equal(await featureFlags.getValue('color', 'red'), 'blue')
      const shape = { sides: 0, tags: [''] }
      assert.deepEqual(await featureFlags.getValue('shape', shape), { sides: 4, tags: ['flat'] })
    },
  },
  {
    name: 'decides by context',
    run: async ({ featureFlags }) => {
      assert.equal(await featureFlags.isEnabled('early-access', { tenant: 'acme', targetingKey: 'u1' }), true)
      assert.equal(await featureFlags.isEnabled('early-access', { tenant: 'other' }), false)
      assert.equal(await featureFlags.isEnabled('early-access', { tenant: undefined }), false)
      assert.equal(await featureFlags.isEnabled('early-access'), false)
    },
  },
  {
    name: 'answers the fallback for a flag that is unknown or of another kind, and never throws',
    run: async ({ featureFlags }) => {
      assert.equal(await featureFlags.isEnabled('unknown'), false)
      assert.equal(await featureFlags.isEnabled('unknown', {}, true), true)
      assert.equal(await featureFlags.getValue('unknown', 'fallback'), 'fallback')
      assert.equal(await featureFlags.isEnabled('limit'), false)
      assert.equal(await featureFlags.getValue('color', 7), 7)
      assert.deepEqual(await featureFlags.getValue('shape', ['list']), ['list'])
    },
  },
  {
    name: 'hands out copies',
    run: async ({ featureFlags }) => {
      const first = await featureFlags.getValue('shape', { tags: [''] })
      Object.assign(first, { sides: 99 })
      assert.deepEqual(await featureFlags.getValue('shape', { tags: [''] }), { sides: 4, tags: ['flat'] })
    },
  },
]
