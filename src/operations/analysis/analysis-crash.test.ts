import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../../test/helpers/core.ts'
import { gitIsHere, type GitServer, startGitServer } from '../../../test/helpers/git-server.ts'
import { accept, eventTypesOf, reached, startWorkerProcess } from '../../../test/helpers/worker.ts'
import { createMemoryCache } from '../../platform/memory/memory-cache.ts'
import { listResources } from '../../tasks/find-resources.ts'
import { createAnalysis } from './analysis-create.ts'

describe.skipIf(!gitIsHere)('an analysis whose worker dies', () => {
  let core: Core
  let folder: string
  let server: GitServer
  beforeAll(async () => {
    // What the killed one leaves there goes with it.
    folder = await mkdtemp(join(tmpdir(), 'analysis-crash-'))
    core = await startCore()
    server = await startGitServer()
  })
  afterAll(async () => {
    await server.stop()
    await core.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test(
    'is taken over on the commit that the first attempt found, and has one record',
    { timeout: 90_000 },
    async () => {
      const repository = await server.repository('crashed')
      const first = await repository.commit({ a: '1\n' })
      const held = server.hold('fetch')
      const env = { GIT_HOSTS: server.host, TMPDIR: folder }
      const dying = await startWorkerProcess(core, env)
      const operation = createAnalysis({ cache: createMemoryCache(), hosts: [server.host] })
      const taskId = await accept(core, operation, { input: { repository: repository.url } })
      await held.asked()
      const running = await listResources(core.database, 'default', { kind: 'Analysis' })
      expect(running.items).toMatchObject([{ name: first, state: 'running' }])
      await dying.stop()
      await repository.commit({ a: '2\n' })
      held.letGo()
      const second = await startWorkerProcess(core, env)
      expect(await reached(core, taskId, { timeoutMs: 60_000 })).toMatchObject({
        status: 'COMPLETED',
        attempt: 2,
        result: { commit: first, ref: 'refs/heads/main' },
      })
      expect(await eventTypesOf(core, taskId)).toContain('completed')
      const { items } = await listResources(core.database, 'default', { kind: 'Analysis' })
      expect(items).toMatchObject([{ name: first, state: 'completed', details: { commit: first, lines: 1 } }])
      await second.stop()
    },
  )
})
