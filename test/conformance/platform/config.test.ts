import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConfig } from '../../../src/platform/create-platform.ts'
import { configConformance, conformanceConfig as schema } from '../../../src/testing/platform-conformance.ts'
import { describeSuite } from './support/describe-suite.ts'

const nothing = async () => undefined

/** What a shell would set: `apiToken: 'x'` as `API_TOKEN=x`. */
function toVariables(settings: Readonly<Record<string, unknown>>): Record<string, string> {
  const variables = Object.entries(settings).map(([key, value]) => {
    const name = key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
    return [name, typeof value === 'string' ? value : JSON.stringify(value)] as const
  })
  return Object.fromEntries(variables)
}

// The twin that `createTestPlatform` takes: settings of the test's own, nothing read from anywhere.
describeSuite('config: memory', configConformance, async () => ({
  subject: { open: (values) => createConfig({ schema, values, env: {} }) },
  stop: nothing,
}))

describeSuite('config: env', configConformance, async () => ({
  subject: { open: (settings) => createConfig({ schema, env: toVariables(settings) }) },
  stop: nothing,
}))

describeSuite('config: file', configConformance, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-config-'))
  const open = (settings: Readonly<Record<string, unknown>>) => {
    const file = join(folder, 'settings.json')
    writeFileSync(file, JSON.stringify(settings))
    return createConfig({ schema, env: {}, file })
  }
  return { subject: { open }, stop: async () => rmSync(folder, { recursive: true }) }
})
