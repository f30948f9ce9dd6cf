import { useCallback, useSyncExternalStore, type MouseEvent } from 'react'
import { defaultView, isViewName, type ViewName } from './views.ts'

/** What the address says is to be seen; every state of the page that is worth a bookmark or a step back. */
export interface Address {
  readonly view: ViewName
  readonly search: string
  readonly task: string | null
}

export function readAddress(query: string): Address {
  const params = new URLSearchParams(query)
  const view = params.get('view') ?? ''
  return { view: isViewName(view) ? view : defaultView, search: params.get('q') ?? '', task: params.get('task') }
}

/** The link to another address; what is not named stays as it is. */
export function hrefOf(address: Address): string {
  const params = new URLSearchParams()
  if (address.view !== defaultView) params.set('view', address.view)
  if (address.search !== '') params.set('q', address.search)
  if (address.task !== null) params.set('task', address.task)
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

/** True for a click that the page may answer itself; one for a new tab or window is the browser's. */
export function isPlainClick(event: MouseEvent): boolean {
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
