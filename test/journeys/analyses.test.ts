import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulatedCluster, type SimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { gitIsHere, type GitServer, startGitServer } from '../helpers/git-server.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { accepted, type Api } from './support/api.ts'
import { startDeadlineMs } from './support/program.ts'
import { type RoleProcess, startRole } from './support/role.ts'

describe.skipIf(!gitIsHere)('analyses by an API and two workers that share a cache', () => {
  let cluster: SimulatedCluster
  let server: GitServer
  let processes: RoleProcess[]
  let api: Api
  beforeAll(async () => {
    cluster = await startSimulatedCluster()
    server = await startGitServer()
    const shared = {
      databaseUrl: (await createTestDatabase()).url,
      kubeconfig: cluster.kubeconfig(),
      platform: { cache: { adapter: 'postgres' as const } },
      gitHosts: [server.host],
    }
    processes = await Promise.all((['api', 'worker', 'worker'] as const).map((role) => startRole({ ...shared, role })))
    const [first] = processes
    if (!first) throw new Error('there is no API')
    api = first.as('requester')
  }, startDeadlineMs)
  afterAll(async () => {
    await Promise.all((processes ?? []).map((started) => started.stop()))
    await server?.stop()
    await cluster?.stop()
  })

  test('a branch is looked up once for all of them; the record shows what was found, in the trace of the request', async () => {
    const repository = await server.repository('shop')
    const commit = await repository.commit({ 'main.go': 'package main\n' })
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
    const tasks = []
    const began = performance.now()
    // One after another: at once they would be one task.
    for (let n = 0; n < 6; n++) {
      const answer = await api.send('POST', '/analyses', {
        body: { repository: repository.url, ref: 'main' },
        headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
      })
      tasks.push(await api.end(accepted(answer).task_id))
    }
    expect(new Set(tasks.map(({ task_id }) => task_id)).size).toBe(6)
    for (const task of tasks) {
      expect(task).toMatchObject({ status: 'COMPLETED', trace_id: traceId, result: { commit, ref: 'refs/heads/main' } })
    }
    // What one worker learned is the other's, too, for 15 s.
    const most = 1 + Math.floor((performance.now() - began) / 15_000)
    expect(server.asked.filter((question) => question === 'refs').length).toBeLessThanOrEqual(most)
    expect(most).toBeLessThan(6)
    const { body } = await api.send('GET', `/resources?kind=Analysis&namespace=${server.host}/shop`)
    expect(body).toMatchObject({
      items: [
        {
          name: commit,
          state: 'completed',
          task_id: tasks.at(-1)?.task_id,
          details: { languages: [{ language: 'Go', lines: 1 }] },
        },
      ],
    })
  })
})
