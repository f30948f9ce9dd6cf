import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestApi, type TestApi } from '../../test/helpers/api.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { defaultPolicy } from '../approvals/default-policy.ts'
import { builtInOperations } from '../operations/registry.ts'
import { addClientCommands } from './client-commands.ts'

let core: GovernedCore
let api: TestApi
let url: string
let folder: string
beforeAll(async () => {
  core = await startGovernedCore(defaultPolicy)
  api = await startTestApi(core, builtInOperations)
  url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  folder = await mkdtemp(join(tmpdir(), 'sluice-cli-'))
})
afterAll(async () => {
  await api.stop()
  await core.stop()
  await rm(folder, { recursive: true })
})

async function sluice(who: keyof TestApi['tokens'], line: string, ...more: string[]) {
  const run = { out: '', err: '', code: undefined as number | undefined }
  const write = (stream: 'out' | 'err') => ({
    isTTY: false,
    columns: 100,
    write: (text: string) => (run[stream] += text),
  })
  const program = new Command()
  addClientCommands(program, {
    stdout: write('out'),
    stderr: write('err'),
    env: { SLUICE_URL: url, SLUICE_TOKEN: api.tokens[who] },
    setExitCode: (code) => (run.code = code),
    onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
  })
  await program.parseAsync([...line.split(' '), ...more], { from: 'user' })
  return run
}

const submit = async (name: string): Promise<string> => {
  const { out } = await sluice('requester', `submit project.create --json --input name=${name} organization=prod`)
  return JSON.parse(out).links.ticket.split('/').at(-1)
}

describe('sluice approvals', () => {
  test('list, get and approve: what waits becomes a task that is queued', async () => {
    const ticket = await submit('acme')
    expect((await sluice('requester', 'approvals list')).out).toBe('No tickets.\n')
    expect((await sluice('requester', 'approvals list --mine')).out).toContain(ticket)
    expect((await sluice('approver', 'approvals list')).out).toMatch(
      new RegExp(`^${ticket}  project.create  .*acme  by requester  .*Needs one approval`),
    )
    const shown = await sluice('approver', `approvals get ${ticket}`)
    expect(shown.out).toContain('"name":"acme"')
    expect(shown.out).toMatch(/dry run +there is no cluster default here/)
    const refused = await sluice('requester', `approvals approve ${ticket}`)
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('approvals.decide') })
    const approved = await sluice('approver', `approvals approve ${ticket} --comment`, 'looks good')
    expect(approved).toMatchObject({ code: 0, err: '' })
    expect(approved.out).toMatch(/^PENDING {2}task_\w+ {2}ticket approved\n$/)
  })

  test('reject and withdraw end the task; another payload than the one seen is refused', async () => {
    const [one, two] = [await submit('one'), await submit('two')]
    expect(await sluice('approver', `approvals approve ${one} --payload-hash ${'f'.repeat(64)}`)).toMatchObject({
      code: 1,
    })
    expect((await sluice('approver', `approvals reject ${one}`)).out).toMatch(/^REJECTED/)
    expect((await sluice('requester', `approvals withdraw ${two}`)).out).toMatch(/^CANCELLED/)
  })
})

describe('sluice approvals, of a batch', () => {
  test('one ticket: its items are listed, some rejected, the rest approved', async () => {
    const file = join(folder, 'items.json')
    const item = (name: string) => ({ operation: 'project.create', input: { name, organization: 'prod' } })
    await writeFile(file, JSON.stringify(['b-one', 'b-two', 'b-three'].map(item)))
    const { out } = await sluice('requester', `batches submit ${file}`)
    const batch = out.split('  ')[0] ?? ''
    const listed = await sluice('approver', `approvals list --batch ${batch}`)
    expect(listed.out).toMatch(/^ticket_\w+ {2}project\.create {2}3 items {2}by requester/)
    const ticket = listed.out.split('  ')[0] ?? ''
    expect((await sluice('approver', `approvals get ${ticket}`)).out).toMatch(/items +3 of 3 wait/)
    const lines = (await sluice('approver', `approvals items ${ticket}`)).out.trimEnd().split('\n')
    expect(lines.map((line) => line.split('  ')[0])).toEqual(['0', '1', '2'])
    expect(lines[1]).toContain('"name":"b-two"')
    const third = lines[2]?.split('  ')[1] ?? ''
    const rejected = await sluice('approver', `approvals reject ${ticket} --items 0 ${third}`)
    expect(rejected).toMatchObject({ code: 0, err: '' })
    expect(rejected.out).toMatch(new RegExp(`^RUNNING {2}${batch} {2}Needs one approval .* for 1 of its batch`))
    expect((await sluice('approver', `approvals approve ${ticket}`)).out).toMatch(/ticket approved\n$/)
    expect((await sluice('requester', `batches get ${batch}`)).out).toContain('PENDING 1, REJECTED 2')
  })
})

describe('sluice policy', () => {
  test('check tells what is wrong, and where', async () => {
    const file = join(folder, 'policy.yaml')
    await writeFile(file, defaultPolicy)
    expect(await sluice('admin', `policy check ${file}`)).toMatchObject({
      code: 0,
      out: expect.stringContaining('2 rules'),
    })
    expect(await sluice('admin', `policy test ${file}`)).toMatchObject({ code: 0, out: '3 examples hold.\n' })
    await writeFile(file, defaultPolicy.replace('environment == "prod"', 'enviroment == "prod"'))
    expect(await sluice('admin', `policy check ${file}`)).toMatchObject({
      code: 1,
      out: '/rules/0/when: Unknown variable: enviroment\n',
    })
    await writeFile(file, defaultPolicy.replace('environment == "prod"', 'environment == "production"'))
    const failed = await sluice('admin', `policy test ${file}`)
    expect(failed).toMatchObject({ code: 1, out: expect.stringContaining('FAILED  making something in prod') })
  })

  test('explain asks the server', async () => {
    const asked = 'policy explain project.create --input name=x organization=prod'
    expect((await sluice('requester', asked)).out).toMatch(
      /^Rule changes-in-prod asks for one approval.*\nEnvironment prod/,
    )
  })
})

describe('sluice notifications', () => {
  test('list, read, and what one does not want to hear of', async () => {
    await submit('told')
    const { items } = JSON.parse((await sluice('approver', 'notifications list --unread --json')).out)
    expect(items[0]).toMatchObject({ kind: 'approval_pending', read: false })
    expect((await sluice('approver', 'notifications list')).out).toMatch(
      /^notification_\w+ {2}\S+ {2}project.create of told waits/,
    )
    expect(await sluice('approver', 'notifications read')).toMatchObject({ code: 2 })
    expect((await sluice('approver', `notifications read ${items[0].notification_id}`)).out).toBe('1 marked as read.\n')
    expect((await sluice('approver', 'notifications read --all')).out).toBe(`${items.length - 1} marked as read.\n`)
    expect((await sluice('approver', 'notifications list --unread')).out).toBe('No notifications.\n')

    const muted = await sluice('approver', 'notifications mute approval_pending task_ended')
    expect(muted.out).toBe('Muted: approval_pending, task_ended.\n')
    await submit('not-told')
    expect((await sluice('approver', 'notifications list --unread')).out).toBe('No notifications.\n')
    expect((await sluice('approver', 'notifications unmute approval_pending')).out).toBe('Muted: task_ended.\n')
    expect((await sluice('approver', 'notifications list --unread')).out).toContain('not-told waits')
    expect((await sluice('approver', 'notifications mute')).out).toBe('Muted: task_ended.\n')
  })
})
