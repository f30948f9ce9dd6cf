import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createEnvSecrets } from '../../../src/platform/adapters/env/env-secrets.ts'
import { createFileSecrets } from '../../../src/platform/adapters/filesystem/file-secrets.ts'
import { createMemorySecrets } from '../../../src/platform/memory/memory-secrets.ts'
import { conformanceSecrets, secretsConformance } from '../../../src/testing/platform-conformance.ts'
import { describeSuite } from './support/describe-suite.ts'

const nothing = async () => undefined

describeSuite('secrets: memory', secretsConformance, async () => {
  const secrets = createMemorySecrets(conformanceSecrets)
  return {
    subject: { secrets, change: async (name, value) => secrets.change(name, value) },
    stop: () => secrets.stop(),
  }
})

describeSuite('secrets: env', secretsConformance, async () => {
  const env = {
    SECRET_DB__PASSWORD: conformanceSecrets['db/password'],
    SECRET_DB__USER: conformanceSecrets['db/user'],
    SECRET_API_KEY: conformanceSecrets['api-key'],
    PATH: '/bin',
  }
  return { subject: { secrets: createEnvSecrets({ env }) }, stop: nothing }
})

describeSuite('secrets: file', secretsConformance, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-secrets-'))
  const change = async (name: string, value: string | undefined) => {
    const path = join(directory, name)
    if (value === undefined) return rm(path, { force: true })
    await mkdir(dirname(path), { recursive: true })
    // As an atomic writer does it; a newline at the end is no part of the secret.
    await writeFile(`${directory}/.new`, `${value}\n`)
    await rename(`${directory}/.new`, path)
  }
  for (const [name, value] of Object.entries(conformanceSecrets)) await change(name, value)
  const secrets = createFileSecrets({ directory, pollMs: 10 })
  const stop = async () => {
    await secrets.stop()
    await rm(directory, { recursive: true })
  }
  return { subject: { secrets, change }, stop }
})

describeSuite('secrets: file, mounted as Kubernetes does it', secretsConformance, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-mounted-'))
  const values = new Map(Object.entries(conformanceSecrets))
  let generation = 0
  // A new hidden folder holds all values, one link is moved to it, and what is seen are links through that link.
  const publish = async () => {
    const folder = `..${++generation}`
    for (const [name, value] of values) {
      await mkdir(join(directory, folder, dirname(name)), { recursive: true })
      await writeFile(join(directory, folder, name), value)
    }
    await symlink(folder, join(directory, '..tmp'))
    await rename(join(directory, '..tmp'), join(directory, '..data'))
    const tops = new Set([...values.keys()].map((name) => name.split('/')[0] ?? ''))
    for (const top of tops) await symlink(join('..data', top), join(directory, top)).catch(() => undefined)
  }
  await publish()
  const change = async (name: string, value: string | undefined) => {
    if (value === undefined) values.delete(name)
    else values.set(name, value)
    await publish()
  }
  const secrets = createFileSecrets({ directory, pollMs: 10 })
  const stop = async () => {
    await secrets.stop()
    await rm(directory, { recursive: true })
  }
  return { subject: { secrets, change }, stop }
})
