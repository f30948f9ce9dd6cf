import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createFilesystemObjectStorage } from '../../../src/platform/adapters/filesystem/filesystem-object-storage.ts'
import { createS3ObjectStorage } from '../../../src/platform/adapters/s3/s3-object-storage.ts'
import { createMemoryObjectStorage } from '../../../src/platform/memory/memory-object-storage.ts'
import { objectStorageConformance } from '../../../src/testing/platform-conformance.ts'
import { describeSuite } from './support/describe-suite.ts'
import { s3Options, startS3 } from './support/servers.ts'
import { reservePort, serveSigned } from './support/signed-server.ts'

const secret = randomBytes(32).toString('hex')

describeSuite('object storage: memory', objectStorageConformance, async () => {
  const { baseUrl, listen } = await reservePort()
  const objectStorage = createMemoryObjectStorage({ baseUrl, signingSecret: secret })
  const stop = await serveSigned(listen, { storage: objectStorage, baseUrl, secret })
  return { subject: { objectStorage }, stop }
})

describeSuite('object storage: filesystem', objectStorageConformance, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-objects-'))
  const { baseUrl, listen } = await reservePort()
  const objectStorage = createFilesystemObjectStorage({ directory, signing: { baseUrl, secret } })
  await objectStorage.start()
  const close = await serveSigned(listen, { storage: objectStorage, baseUrl, secret })
  const stop = async () => {
    await close()
    await objectStorage.stop()
    await rm(directory, { recursive: true })
  }
  return { subject: { objectStorage }, stop }
})

describeSuite('object storage: s3', objectStorageConformance, async () => {
  const server = await startS3()
  const objectStorage = createS3ObjectStorage({ ...s3Options(server), keyPrefix: 'results' })
  await objectStorage.start()
  const stop = async () => {
    await objectStorage.stop()
    await server.stop()
  }
  return { subject: { objectStorage, checksSignatures: false }, stop }
})
