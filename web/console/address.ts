import { useCallback, useSyncExternalStore, type MouseEvent } from 'react'
import { defaultInbox, defaultView, type InboxName, isInboxName, isViewName, type ViewName } from './views.ts'

/** What the address says is to be seen; every state of the page that is worth a bookmark or a step back. */
export interface Address {
  readonly page: PageName
  readonly view: ViewName
  readonly search: string
  readonly task: string | null
  readonly inbox: InboxName
  readonly ticket: string | null
  /** Only unread notifications. */
  readonly unread: boolean
}

const pages = ['tasks', 'approvals', 'notifications'] as const
export type PageName = (typeof pages)[number]

export function readAddress(query: string): Address {
  const params = new URLSearchParams(query)
  const view = params.get('view') ?? ''
  const inbox = params.get('inbox') ?? ''
  return {
    page: pages.find((page) => page === params.get('page')) ?? 'tasks',
    view: isViewName(view) ? view : defaultView,
    search: params.get('q') ?? '',
    task: params.get('task'),
    inbox: isInboxName(inbox) ? inbox : defaultInbox,
    ticket: params.get('ticket'),
    unread: params.has('unread'),
  }
}

/** The front of a page. */
export function frontOf(page: PageName): Address {
  return { ...readAddress(''), page }
}

/** The link to another address; what is not named stays as it is. */
export function hrefOf(address: Address): string {
  const params = new URLSearchParams()
  if (address.page !== 'tasks') params.set('page', address.page)
  if (address.view !== defaultView) params.set('view', address.view)
  if (address.search !== '') params.set('q', address.search)
  if (address.task !== null) params.set('task', address.task)
  if (address.inbox !== defaultInbox) params.set('inbox', address.inbox)
  if (address.ticket !== null) params.set('ticket', address.ticket)
  if (address.unread) params.set('unread', '')
  return params.size === 0 ? '/' : `/?${params}`
}

const moved = new EventTarget()

/** The address, and a way to go elsewhere: as a new step of the history, or in place of this one. */
export function useAddress() {
  const query = useSyncExternalStore(listen, () => location.search)
  const address = readAddress(query)
  const go = useCallback((change: Partial<Address>, { replace = false }: { readonly replace?: boolean } = {}) => {
    const href = hrefOf({ ...readAddress(location.search), ...change })
    if (replace) history.replaceState(null, '', href)
    else history.pushState(null, '', href)
    moved.dispatchEvent(new Event('moved'))
  }, [])
  return { address, go }
}

/** A link that goes there without loading the page anew. */
export function linkTo(address: Address, go: (change: Address) => void) {
  return {
    href: hrefOf(address),
    onClick: (event: MouseEvent) => {
      if (!isPlainClick(event)) return
      event.preventDefault()
      go(address)
    },
  }
}

/** True for a click that the page may answer itself; one for a new tab or window is the browser's. */
function isPlainClick(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey
}

function listen(listener: () => void): () => void {
  addEventListener('popstate', listener)
  moved.addEventListener('moved', listener)
  return () => {
    removeEventListener('popstate', listener)
    moved.removeEventListener('moved', listener)
  }
}
