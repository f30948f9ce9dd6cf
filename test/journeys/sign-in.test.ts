import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lacksBrowser, launchBrowser } from '../helpers/browser.ts'
import { connectApi } from './support/api.ts'
import { makeDataDir, startDeadlineMs } from './support/program.ts'
import { type SluiceProcess, startSluiceProcess } from './support/sluice-process.ts'

describe.skipIf(lacksBrowser())('sluice start --demo: signing in as a person', () => {
  let sluice: SluiceProcess
  let browser: Browser
  let context: BrowserContext
  let page: Page
  const complaints: string[] = []

  beforeAll(async () => {
    const [started, launched] = await Promise.all([
      makeDataDir().then((dataDir) => startSluiceProcess(dataDir, '--demo')),
      launchBrowser(),
    ])
    sluice = started
    browser = launched
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(20_000)
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      // 401 before anybody has signed in is told by the page itself; what the provider's pages lack is not ours.
      const ours = message.location().url.startsWith(sluice.url) && !message.text().includes('401')
      if (message.type() === 'error' && ours) complaints.push(message.text())
    })
  }, startDeadlineMs)
  afterAll(() => browser?.close())

  const session = async () => (await context.cookies(sluice.url)).find(({ name }) => name === 'sluice_session')
  const enter = async (name: string) => {
    await page.getByRole('link', { name: 'Sign in', exact: true }).click()
    await page.getByRole('button', { name }).click()
    await page.getByRole('heading', { name: 'Tasks', exact: true }).waitFor()
    await page.getByText('Live', { exact: true }).waitFor()
  }

  test('the ready lines say where, and as whom', () => {
    expect(sluice.output()).toMatch(
      new RegExp(
        `^Sign in: ${sluice.url}/login as vera, rita, otto, anna, adam \\(demo identity provider: http://127.0.0.1:\\d+\\)$`,
        'm',
      ),
    )
  })

  test('the console leads to the provider and back, into a session that no script can read', async () => {
    await page.goto(sluice.url)
    await enter('Rita')
    expect(page.url()).toBe(`${sluice.url}/`)
    await page.locator('.account-name', { hasText: 'rita' }).waitFor()
    expect(await session()).toMatchObject({ httpOnly: true, sameSite: 'Strict', path: '/' })
    expect(await page.evaluate(() => document.cookie)).toBe('')
  })

  test('a requester asks for a project, and it is theirs', async () => {
    await page.getByRole('button', { name: 'New project' }).click()
    await page.getByLabel('Name', { exact: true }).fill('by-rita')
    await page.getByLabel('Organization').fill('acme')
    await page.getByRole('button', { name: 'Create project' }).click()
    await page.getByRole('link', { name: 'by-rita' }).getByText('Completed', { exact: true }).waitFor()
    const { body } = await sluice.as('admin').send('GET', '/tasks')
    expect(body).toMatchObject({ items: [{ target: expect.stringContaining('by-rita'), requested_by: 'rita' }] })
  })

  test('signing out ends it at the provider, too: the next one is asked who they are', async () => {
    const before = (await session())?.value ?? ''
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign out' }).waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in to Sluice' }).waitFor()
    expect(await session()).toBeUndefined()
    const replayed = await connectApi(sluice.url, '').send('GET', '/me', {
      headers: { cookie: `sluice_session=${before}` },
    })
    expect(replayed.status).toBe(401)
    await enter('Vera')
    expect((await session())?.value).not.toBe(before)
    await page.locator('.account-name', { hasText: 'vera' }).waitFor()
  })

  test('somebody whom the provider does not let in is told so, and the address forgets it', async () => {
    await context.clearCookies()
    await page.goto(`${sluice.url}/?login=denied`)
    await page.getByText('The identity provider did not let you in.').waitFor()
    expect(page.url()).toBe(`${sluice.url}/`)
  })

  test('the page was allowed everything that it does', () => {
    expect(complaints).toEqual([])
  })
})
