import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { taskPageSchema, taskSchema } from '../../src/contract/task.ts'
import { root } from './support/build.ts'
import { openEventStream } from './support/event-stream.ts'
import { makeDataDir, startDeadlineMs } from './support/program.ts'
import { type SluiceProcess, startSluiceProcess } from './support/sluice-process.ts'

interface Run {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** `npx sluice …` beside the started system, which it finds by its address and its data folder. */
function sluiceCommand(sluice: Pick<SluiceProcess, 'url' | 'dataDir'>, ...args: readonly string[]): Promise<Run> {
  const where = ['--url', sluice.url, '--data', sluice.dataDir]
  return new Promise((resolve) => {
    execFile(process.execPath, [join(root, 'bin/sluice.js'), ...args, ...where], (error, stdout, stderr) => {
      resolve({ exitCode: error ? Number(error.code) : 0, stdout, stderr })
    })
  })
}

let sluice: SluiceProcess
beforeAll(async () => {
  sluice = await startSluiceProcess(await makeDataDir())
}, startDeadlineMs)

const createProject = (name: string, ...more: readonly string[]) =>
  sluiceCommand(sluice, 'submit', 'project.create', '--input', `name=${name}`, '--input', 'organization=acme', ...more)

describe('the sluice command beside the started system', { timeout: 60_000 }, () => {
  test('its exit code is the outcome: 0 completed, 1 failed, 2 used wrongly or refused as it is, 3 nobody there', async () => {
    const completed = await createProject('by-command', '--wait')
    expect([completed.exitCode, completed.stderr]).toEqual([0, ''])
    expect(completed.stdout).toMatch(/COMPLETED|Completed/i)

    const failed = await createProject('fails-by-command', '--wait')
    expect(failed.exitCode).toBe(1)
    expect(failed.stdout + failed.stderr).toContain('ProjectNameConflict')

    const refused = await createProject('Not Valid', '--wait')
    expect(refused.exitCode).toBe(2)
    expect(refused.stderr).toContain('name')

    expect((await sluiceCommand(sluice, 'submit')).exitCode).toBe(2)
    const nowhere = { url: 'http://127.0.0.1:9', dataDir: sluice.dataDir }
    expect((await sluiceCommand(nowhere, 'tasks', 'list')).exitCode).toBe(3)
  })

  test('lists, gets, watches and cancels tasks; --json prints nothing but JSON', async () => {
    const { task_id } = await sluice.as('requester').createProject('stalls-by-command')
    await (await openEventStream(sluice.as('requester'), task_id)).until('task.waiting')
    const got = await sluiceCommand(sluice, 'tasks', 'get', task_id, '--json')
    expect(taskSchema.parse(JSON.parse(got.stdout))).toMatchObject({ task_id, status: 'WAITING' })

    const watching = sluiceCommand(sluice, 'tasks', 'watch', task_id, '--json')
    const cancelled = await sluiceCommand(sluice, 'tasks', 'cancel', task_id)
    expect([cancelled.exitCode, cancelled.stderr]).toEqual([0, ''])
    const watched = await watching
    expect(watched.exitCode).toBe(1)
    const types = watched.stdout
      .trim()
      .split('\n')
      .map((line) => String(JSON.parse(line).type))
    expect(types[0]).toBe('task.requested')
    expect(types.at(-1)).toBe('task.cancelled')

    const listed = await sluiceCommand(sluice, 'tasks', 'list', '--status', 'CANCELLED', '--json')
    expect(taskPageSchema.parse(JSON.parse(listed.stdout)).items).toMatchObject([{ task_id }])
  })

  test('exports tasks, and writes what a task made to a file', async () => {
    const { task_id } = await sluice.as('requester').createProject('exported')
    await sluice.as('requester').end(task_id)
    const exporting = await sluiceCommand(
      sluice,
      'submit',
      'tasks.export',
      '--input',
      `task_ids:=["${task_id}"]`,
      '--wait',
      '--json',
    )
    const { task_id: exported, result } = taskSchema.parse(JSON.parse(exporting.stdout))
    expect(result).toMatchObject({ $stored: { media_type: 'application/x-ndjson' } })
    const file = join(sluice.dataDir, 'exported.jsonl')
    expect((await sluiceCommand(sluice, 'tasks', 'result', exported, '--output', file)).exitCode).toBe(0)
    const text = await readFile(file, 'utf8')
    expect(taskSchema.parse(JSON.parse(text))).toMatchObject({ task_id, status: 'COMPLETED' })
    expect((await sluiceCommand(sluice, 'tasks', 'result', exported)).stdout).toBe(text)
    expect((await sluiceCommand(sluice, 'tasks', 'result', task_id)).stdout).toContain('"name":"exported"')
  })
})
