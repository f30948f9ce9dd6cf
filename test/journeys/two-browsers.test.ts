import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sessionCodeSchema } from '../../src/contract/session.ts'
import { lacksBrowser, launchBrowser } from '../helpers/browser.ts'
import { until } from '../helpers/until.ts'
import { makeDataDir, startDeadlineMs } from './support/program.ts'
import { type SluiceProcess, startSluiceProcess } from './support/sluice-process.ts'

describe.skipIf(lacksBrowser())('two browsers: one asks, the other decides', () => {
  let sluice: SluiceProcess
  let browser: Browser
  let requester: Page
  let approver: Page
  const complaints: string[] = []

  beforeAll(async () => {
    const [started, launched] = await Promise.all([makeDataDir().then(startSluiceProcess), launchBrowser()])
    sluice = started
    browser = launched
    requester = await signIn('requester')
    approver = await signIn('approver')
  }, startDeadlineMs)
  afterAll(() => browser?.close())

  async function signIn(name: 'requester' | 'approver'): Promise<Page> {
    const { body } = await sluice.as(name).send('POST', '/session/codes')
    const page = await (await browser.newContext()).newPage()
    page.setDefaultTimeout(20_000)
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
    await page.goto(`${sluice.url}/?code=${sessionCodeSchema.parse(body).code}`)
    await page.getByText('Live', { exact: true }).waitFor()
    return page
  }

  async function ask(name: string): Promise<void> {
    await requester.getByRole('button', { name: 'New project' }).click()
    await requester.getByLabel('Name', { exact: true }).fill(name)
    await requester.getByLabel('Organization').fill('prod')
    await requester.getByRole('button', { name: 'Create project' }).click()
    await requester
      .getByRole('article', { name: `project.create ${name}` })
      .getByText('Awaiting approval')
      .first()
      .waitFor()
  }

  test('a request for prod appears at the approver, and runs once it is approved', async () => {
    await ask('agreed')
    await approver.getByRole('link', { name: /^Approvals 1 to decide$/ }).click()
    await approver.getByRole('link', { name: 'agreed' }).click()
    const ticket = approver.getByRole('article', { name: 'Approval of project.create agreed' })
    await ticket.getByText('+ metadata.name: "agreed"').waitFor()
    await ticket.getByLabel('Comment').fill('as discussed')
    await ticket.getByRole('button', { name: 'Approve' }).click()
    await ticket.getByText('Approved by approver').waitFor()
    await approver.getByText('Nothing to decide').waitFor()

    const task = requester.getByRole('article', { name: 'project.create agreed' })
    await task.locator('[data-event="task.completed"]').waitFor()
    await task.getByText('Approved by approver').waitFor()
  })

  test('the requester is told of the decision and of the end, and each leads to the task', async () => {
    await requester.getByRole('link', { name: /^Notifications 2 unread$/ }).click()
    await requester.getByRole('link', { name: /project.create of agreed was approved by approver/ }).waitFor()
    await requester.getByRole('link', { name: /project.create of agreed is COMPLETED/ }).click()
    await requester.getByRole('article', { name: 'project.create agreed' }).waitFor()
    await requester.getByRole('link', { name: /^Notifications 1 unread$/ }).click()
    await requester.getByRole('button', { name: 'Mark all as read' }).click()
    await requester.getByRole('link', { name: /^Notifications$/ }).waitFor()
    await requester.getByRole('link', { name: 'Unread', exact: true }).click()
    await requester.getByText('Nothing unread').waitFor()

    await requester.getByText('What to tell me').click()
    await requester.getByLabel('The end of my tasks').click()
    await requester.getByRole('link', { name: 'Tasks', exact: true }).click()
    await until(async () => {
      const { body } = await sluice.as('requester').send('GET', '/notifications/preferences')
      return JSON.stringify(body) === '{"muted":["task_ended"]}'
    })
  })

  test('the requester finds no button to approve, and may withdraw', async () => {
    await ask('taken-back')
    await requester.getByRole('link', { name: 'Open the approval' }).click()
    const ticket = requester.getByRole('article', { name: 'Approval of project.create taken-back' })
    await ticket.getByRole('button', { name: 'Withdraw' }).waitFor()
    expect(await ticket.getByRole('button', { name: 'Approve' }).count()).toBe(0)
    await ticket.getByRole('button', { name: 'Withdraw' }).click()
    await ticket.getByText(/Closed by requester: withdrawn/).waitFor()
    await requester.getByRole('link', { name: 'Tasks', exact: true }).click()
    await requester.getByRole('link', { name: 'taken-back' }).getByText('Cancelled', { exact: true }).waitFor()
  })

  test('a rejection ends the task, with the reason in front of the requester', async () => {
    await ask('refused')
    await approver.getByRole('link', { name: 'To decide', exact: true }).click()
    await approver.getByRole('link', { name: 'refused' }).click()
    const ticket = approver.getByRole('article', { name: 'Approval of project.create refused' })
    await approver.setViewportSize({ width: 390, height: 844 })
    const fits = 'document.documentElement.scrollWidth <= window.innerWidth'
    const narrow = await approver.evaluate(fits)
    await approver.setViewportSize({ width: 1280, height: 860 })
    expect(narrow).toBe(true)
    await ticket.getByLabel('Comment').fill('not this quarter')
    await ticket.getByRole('button', { name: 'Reject' }).click()
    await ticket.getByText('Rejected by approver').waitFor()
    const task = requester.getByRole('article', { name: 'project.create refused' })
    await task.locator('[data-event="task.rejected"]').getByText('not this quarter').waitFor()
  })

  test('what was decided meanwhile is said, and changes nothing', async () => {
    await ask('too-late')
    await approver.getByRole('link', { name: 'To decide', exact: true }).click()
    await approver.getByRole('link', { name: 'too-late' }).click()
    const ticket = approver.getByRole('article', { name: 'Approval of project.create too-late' })
    await ticket.getByRole('button', { name: 'Approve' }).waitFor()
    // Nothing is heard while the other one is faster.
    await approver.context().setOffline(true)
    const taskId = new URL(requester.url()).searchParams.get('task') ?? ''
    const { ticket: ticketId } = await sluice.as('requester').task(taskId)
    const { status } = await sluice.as('requester').send('POST', `/approvals/${ticketId}/withdraw`)
    expect(status).toBe(200)
    await approver.context().setOffline(false)
    await ticket.getByText(/Closed by requester: withdrawn/).waitFor()
  })

  test('of a batch one change is rejected, and the rest is approved', async () => {
    const items = ['one', 'two', 'three'].map((name) => ({
      operation: 'project.create',
      input: { name: `many-${name}`, organization: 'prod' },
    }))
    const { status } = await sluice.as('requester').send('POST', '/tasks/bulk', { body: { items } })
    expect(status).toBe(202)
    await approver.getByRole('link', { name: 'To decide', exact: true }).click()
    await approver.getByRole('link', { name: '3 changes' }).click()
    const ticket = approver.getByRole('article', { name: 'Approval of project.create 3 changes' })
    await ticket.getByLabel('Choose many-two').check()
    await ticket.getByRole('button', { name: 'Reject 1 chosen' }).click()
    await ticket.getByText('2 of 3 changes wait for the decision').waitFor()
    await ticket.getByRole('button', { name: 'Approve' }).click()
    await ticket.getByText('Approved by approver').waitFor()
    await requester.getByRole('link', { name: 'Tasks', exact: true }).click()
    const shows = (name: string, state: string) =>
      requester.getByRole('link', { name }).getByText(state, { exact: true }).waitFor()
    await Promise.all([shows('many-one', 'Completed'), shows('many-two', 'Rejected'), shows('many-three', 'Completed')])
  })

  test('nothing broke in either page', () => {
    // Lost connections and refusals are told by the page itself.
    expect(complaints.filter((text) => !/Failed to load resource|WebSocket/.test(text))).toEqual([])
  })
})
