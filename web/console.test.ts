import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { build } from 'vite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { lacksBrowser, launchBrowser } from '../test/helpers/browser.ts'
import { startStubApi, type StubApi } from '../test/helpers/stub-api.ts'
import { stubProblem } from '../test/helpers/stub-store.ts'
import { until } from '../test/helpers/until.ts'

const target = (name: string) => `default:resourcemanager.miloapis.com/Project//${name}`

describe.skipIf(lacksBrowser())('the console in a browser', () => {
  let webRoot: string
  let browser: Browser
  let api: StubApi
  let context: BrowserContext
  let page: Page
  let complaints: string[]

  beforeAll(async () => {
    webRoot = await mkdtemp(join(tmpdir(), 'sluice-console-'))
    const root = fileURLToPath(new URL('.', import.meta.url))
    await build({ root, logLevel: 'error', build: { outDir: webRoot, emptyOutDir: true } })
    browser = await launchBrowser()
  })
  afterAll(async () => {
    await browser.close()
    await rm(webRoot, { recursive: true })
  })
  beforeEach(async () => {
    api = await startStubApi({ webRoot })
    api.codes.set('fresh', 'secret')
    context = await browser.newContext({ viewport: { width: 1280, height: 860 } })
    page = await context.newPage()
    page.setDefaultTimeout(20_000)
    complaints = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      // Refusals and lost connections are told by the page itself; a broken policy or a fault of ours is told here.
      const expected = /Failed to load resource|WebSocket connection/.test(message.text())
      if (message.type() === 'error' && !expected) complaints.push(message.text())
    })
  })
  afterEach(async () => {
    await context.close()
    await api.stop()
    expect(complaints).toEqual([])
  })

  const enter = async (query = '') => {
    await context.addCookies([{ name: 'sluice', value: 'secret', url: api.url }])
    await page.goto(`${api.url}/${query}`)
    await page.getByText('Live', { exact: true }).waitFor()
  }

  describe('signing in', () => {
    test('a code becomes a session and leaves the address', async () => {
      await page.goto(`${api.url}/?code=fresh`)
      await page.getByRole('heading', { name: 'Tasks', exact: true }).waitFor()
      expect(page.url()).toBe(`${api.url}/`)
      await page.getByText('Live', { exact: true }).waitFor()
      await page.reload()
      await page.getByRole('heading', { name: 'Tasks', exact: true }).waitFor()
    })

    test('without a session, or with a used code, the page says how to get a link', async () => {
      await page.goto(`${api.url}/?code=used`)
      await page.getByText('That link was used already').waitFor()
      await page.getByText(`npx sluice console --url ${api.url}`).waitFor()
      expect(page.url()).toBe(`${api.url}/`)
      expect(api.sockets.size).toBe(0)
    })

    test('signing out ends the session and the live connection', async () => {
      await enter()
      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.getByText('Your session has ended').waitFor()
      await until(() => api.sockets.size === 0)
      await page.reload()
      await page.getByRole('heading', { name: 'Sign in to Sluice' }).waitFor()
    })

    test('a session that ran out leads back to the sign-in page', async () => {
      await enter()
      api.tokens.clear()
      await page.getByRole('link', { name: 'Failed' }).click()
      await page.getByText('Your session has ended').waitFor()
    })

    test('a server that does not answer yet is asked again', async () => {
      let down = true
      await page.route('**/api/v1/me', (route) => (down ? route.abort() : route.continue()))
      await context.addCookies([{ name: 'sluice', value: 'secret', url: api.url }])
      await page.goto(api.url)
      await page.getByRole('heading', { name: 'Sluice does not answer' }).waitFor()
      down = false
      await page.getByRole('heading', { name: 'Tasks', exact: true }).waitFor()
    })
  })

  describe('the list', () => {
    test('shows a task as it comes and as it moves, without a reload', async () => {
      await enter()
      await page.getByText('No tasks yet').waitFor()
      const { task_id } = api.store.add({ target: target('acme') })
      const row = page.getByRole('link', { name: 'acme' })
      await row.getByText('Pending').waitFor()
      api.store.append(task_id, 'task.waiting', { task: { why_waiting: 'Project acme is not Ready yet' } })
      await row.getByText('Project acme is not Ready yet').waitFor()
      api.store.append(task_id, 'task.failed', { task: { error: stubProblem(409, 'The name is taken.') } })
      await row.getByText('The name is taken.').waitFor()
    })

    test('goes on after the connection was lost, and says so meanwhile', async () => {
      api.store.add({ target: target('before') })
      await enter()
      await page.getByRole('link', { name: 'before' }).waitFor()
      await api.stop()
      await page.getByText('Reconnecting to Sluice').waitFor()
      api.store.add({ target: target('after') })
      await api.start()
      await page.getByRole('link', { name: 'after' }).waitFor()
      await page.getByText('Reconnecting to Sluice').waitFor({ state: 'detached' })
    })

    test('of ten thousand tasks shows a page, and pages on', async () => {
      for (let n = 0; n < 10_000; n++) api.store.add({ target: target(`p-${n}`) })
      await enter()
      await page.getByText('1 to 50').waitFor()
      expect(await page.locator('.task-row').count()).toBe(50)
      await page.getByRole('button', { name: 'Older' }).click()
      await page.getByText('51 to 100').waitFor()
      await page.getByRole('link', { name: 'p-9949' }).waitFor()
      await page.getByRole('button', { name: 'Newer' }).click()
      await page.getByRole('link', { name: 'p-9999' }).waitFor()
    })

    test('is filtered by status and searched by text, in the address too', async () => {
      api.store.add({ target: target('good'), status: 'COMPLETED', done: true })
      api.store.add({ target: target('bad'), status: 'TIMED_OUT', done: true, error: stubProblem(504, 'Too late.') })
      await enter('?view=failed')
      await page.getByRole('link', { name: 'bad' }).waitFor()
      expect(await page.locator('.task-row').count()).toBe(1)
      await page.getByRole('searchbox').fill('nothing like it')
      await page.getByText('No such task').waitFor()
      expect(page.url()).toContain('view=failed&q=nothing')
      await page.getByRole('button', { name: 'Show all tasks' }).click()
      await page.getByRole('link', { name: 'good' }).waitFor()
    })

    test('that cannot be read says why, and is read again', async () => {
      api.faults.push((request, response) => {
        if (!(request.url ?? '').startsWith('/api/v1/tasks')) return false
        response.writeHead(400, { 'content-type': 'application/problem+json' })
        response.end(JSON.stringify(stubProblem(400, 'Out of order today.')))
        return true
      })
      await enter()
      await page.getByText('Out of order today.').waitFor()
      api.faults.length = 0
      await page.getByRole('button', { name: 'Try again' }).click()
      await page.getByText('No tasks yet').waitFor()
    })
  })

  describe('a task', () => {
    test('opens beside the list with its timeline, follows it live, and closes by Escape', async () => {
      const { task_id } = api.store.add({ target: target('acme') })
      await enter()
      await page.getByRole('link', { name: 'acme' }).click()
      const panel = page.getByRole('article')
      await panel.getByText('Requested by requester').waitFor()
      api.store.append(task_id, 'task.started', { data: { attempt: 1 } })
      await panel.getByText('Attempt 1 started').waitFor()
      api.store.append(task_id, 'task.completed', { task: { result: { uid: '6c1a4f8e' } } })
      await panel.getByText('6c1a4f8e').waitFor()
      await page.keyboard.press('Escape')
      await panel.waitFor({ state: 'detached' })
      expect(await page.evaluate(() => document.activeElement?.getAttribute('data-row'))).toBe(task_id)
    })

    test('is cancelled after a second thought', async () => {
      const { task_id } = api.store.add({ target: target('acme') })
      await enter(`?task=${task_id}`)
      await page.getByRole('button', { name: 'Cancel task' }).click()
      await page.getByRole('button', { name: 'Cancel it' }).click()
      await page.getByRole('article').getByText('Cancelled', { exact: true }).first().waitFor()
      expect(api.store.tasks.get(task_id)?.status).toBe('CANCELLED')
    })

    test('that failed is run again, as a new one that is a press away', async () => {
      const { task_id } = api.store.add({ target: target('acme'), status: 'FAILED', done: true })
      await enter(`?view=failed&task=${task_id}`)
      await page.getByRole('button', { name: 'Run again' }).click()
      await page.getByRole('article').getByRole('link').click()
      const panel = page.getByRole('article')
      await panel.getByText('Again after').waitFor()
      expect(await panel.getByRole('button', { name: 'Run again' }).count()).toBe(0)
      await panel.getByRole('link', { name: task_id }).click()
      await panel.getByRole('button', { name: 'Run again' }).waitFor()
    })

    test('that does not exist says so', async () => {
      await enter('?task=task_nowhere')
      await page.getByRole('heading', { name: 'No such task' }).waitFor()
    })
  })

  describe('a new project', () => {
    test('is asked for, mended where the server refuses a field, and opened', async () => {
      await enter()
      await page.getByRole('button', { name: 'New project' }).click()
      await page.getByRole('button', { name: 'Create project' }).click()
      expect(await page.getByText('Please fill this in.').count()).toBe(2)
      await page.getByLabel('Name', { exact: true }).fill('Not A Name')
      await page.getByLabel('Organization').fill('test')
      await page.keyboard.press('Enter')
      const name = page.getByLabel('Name', { exact: true })
      await page.getByText('must begin with a letter').waitFor()
      expect(await name.getAttribute('aria-invalid')).toBe('true')
      await name.fill('acme')
      await page.keyboard.press('Enter')
      await page.getByRole('article', { name: 'Task project.create acme' }).waitFor()
      const { body } = api.requests.findLast(({ line }) => line === 'POST /api/v1/tasks') ?? {}
      expect(body).toEqual({ operation: 'project.create', input: { name: 'acme', organization: 'test' } })
      expect(api.store.tasks.size).toBe(1)
    })
  })

  test('nothing is wider than a telephone', async () => {
    await page.setViewportSize({ width: 390, height: 844 })
    const long = 'a-name-of-fifty-five-characters-that-goes-on-and-on-here'
    const { task_id } = api.store.add({ target: target(long), why_waiting: 'w'.repeat(200) })
    await enter()
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)
    await page.getByRole('link', { name: long }).waitFor()
    expect(await fits()).toBe(true)
    await page.getByRole('link', { name: long }).click()
    await page.getByRole('heading', { name: long }).waitFor()
    expect(await fits()).toBe(true)
    await page.getByRole('button', { name: 'All tasks' }).click()
    expect(await page.evaluate(() => document.activeElement?.getAttribute('data-row'))).toBe(task_id)
    await page.getByRole('button', { name: 'New project' }).click()
    expect(await fits()).toBe(true)
  })
})
