import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { meSchema } from '../../src/contract/session.ts'
import { lacksBrowser, launchBrowser } from '../helpers/browser.ts'
import { connectApi } from './support/api.ts'
import { openSimulatedCluster } from './support/simulated-cluster.ts'
import { makeDataDir, startDeadlineMs } from './support/program.ts'
import { type SluiceProcess, startSluiceProcess } from './support/sluice-process.ts'

describe.skipIf(lacksBrowser())('the console, from the printed link', () => {
  let sluice: SluiceProcess
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let link: string
  const complaints: string[] = []

  beforeAll(async () => {
    const [started, launched] = await Promise.all([makeDataDir().then(startSluiceProcess), launchBrowser()])
    sluice = started
    browser = launched
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(20_000)
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    link = /^Console: (\S+)$/m.exec(sluice.output())?.[1] ?? ''
  }, startDeadlineMs)
  afterAll(() => browser?.close())

  test('opens the list, and the code is gone from the address', async () => {
    expect(link).toMatch(/\?code=[\w-]{43}$/)
    await page.goto(link)
    await page.getByRole('heading', { name: 'Tasks', exact: true }).waitFor()
    await page.getByText('Live', { exact: true }).waitFor()
    expect(page.url()).toBe(`${sluice.url}/`)
    await page.getByText('No tasks yet').waitFor()
  })

  test('the session is a cookie that no script can read', async () => {
    const cookies = await context.cookies()
    expect(cookies).toMatchObject([{ httpOnly: true, sameSite: 'Strict', path: '/' }])
    expect(await page.evaluate(() => document.cookie)).toBe('')
  })

  test('a project that is created here becomes Completed before the eyes of who waits', async () => {
    const cluster = await openSimulatedCluster(sluice.kubeconfig)
    await cluster.hold('from-the-console')
    let loads = 0
    page.on('load', () => loads++)
    await page.getByRole('button', { name: 'New project' }).click()
    await page.getByLabel('Name', { exact: true }).fill('from-the-console')
    await page.getByLabel('Organization').fill('acme')
    await page.getByRole('button', { name: 'Create project' }).click()

    const row = page.getByRole('link', { name: 'from-the-console' })
    await row.getByText('Waiting', { exact: true }).waitFor()
    await cluster.letGo()
    const panel = page.getByRole('article', { name: 'project.create from-the-console' })
    await row.getByText('Completed', { exact: true }).waitFor()
    await panel.locator('[data-event="task.completed"]').waitFor()
    const timeline = await panel
      .locator('[data-event]')
      .evaluateAll((steps) => steps.map((step) => step.dataset['event']))
    expect(timeline).toEqual(['task.requested', 'task.started', 'task.waiting', 'task.completed'])
    expect(loads).toBe(0)
  })

  test('what happens elsewhere is seen here too, without a reload', async () => {
    await sluice.as('approver').createProject('from-elsewhere')
    const row = page.getByRole('link', { name: 'from-elsewhere' })
    await row.getByText('Completed', { exact: true }).waitFor()
  })

  test('a link works once', async () => {
    const code = new URL(link).searchParams.get('code')
    const anybody = connectApi(sluice.url, '')
    const again = await anybody.send('POST', '/session', { body: { code }, headers: { origin: sluice.url } })
    expect(again.status).toBe(401)
    expect(again.headers.get('set-cookie')).toBeNull()
    const stranger = await browser.newContext()
    const elsewhere = await stranger.newPage()
    await elsewhere.goto(link)
    await elsewhere.getByText('That link was used already').waitFor()
    await stranger.close()
  })

  test('a change with the cookie must come from the console itself', async () => {
    const [cookie] = await context.cookies()
    const me = await connectApi(sluice.url, '').send('GET', '/me', {
      headers: { cookie: `${cookie?.name}=${cookie?.value}` },
    })
    const { csrf_token: csrf } = meSchema.parse(me.body)
    const send = (headers: Record<string, string>) =>
      connectApi(sluice.url, '').send('POST', '/projects', {
        body: { name: 'forged', organization: 'acme' },
        headers: { cookie: `${cookie?.name}=${cookie?.value}`, ...headers },
      })
    expect((await send({ 'sluice-csrf': csrf ?? '' })).status).toBe(403)
    expect((await send({ 'sluice-csrf': csrf ?? '', origin: 'https://evil.example' })).status).toBe(403)
    expect((await send({ origin: sluice.url })).status).toBe(403)
    expect((await send({ 'sluice-csrf': csrf ?? '', origin: sluice.url })).status).toBe(202)
  })

  test('the page was allowed everything that it does', () => {
    expect(complaints).toEqual([])
  })
})
