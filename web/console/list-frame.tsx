import { useEffect, useRef, type ReactNode } from 'react'
import type { ListView } from '../../src/react/index.ts'

export interface ListFrameProps {
  readonly label: string
  readonly view: ListView
  /** Entries on this page. */
  readonly shown: number
  readonly empty: ReactNode
  readonly children: ReactNode
}

/** Around every list: how it loads, fails, is empty, is out of date, and goes on. */
export function ListFrame({ label, view, shown, empty, children }: ListFrameProps) {
  return (
    <section className="tasks" aria-label={label} aria-busy={view.state === 'loading' || view.changing}>
      {view.stale && <Stale view={view} />}
      {view.state === 'loading' && <Skeleton label={label} />}
      {view.state === 'error' && (
        <div className="blank" role="alert">
          <h2>The list cannot be read</h2>
          <p>{view.error?.message}</p>
          <button type="button" onClick={view.retry}>
            Try again
          </button>
        </div>
      )}
      {view.state === 'empty' && empty}
      {view.state === 'ready' && children}
      <Paging view={view} shown={shown} />
    </section>
  )
}

function Stale({ view }: { readonly view: ListView }) {
  return (
    <p className="stale" role="status">
      Reconnecting to Sluice. What you see may be some seconds old.
      <button type="button" className="quiet" onClick={view.retry}>
        Read again
      </button>
    </p>
  )
}

function Skeleton({ label }: { readonly label: string }) {
  return (
    <div className="skeleton">
      <p className="visually-hidden">Loading {label.toLowerCase()}…</p>
      {Array.from({ length: 8 }, (_, n) => (
        <div key={n} className="skeleton-row" aria-hidden="true">
          <span />
          <span />
          <span />
        </div>
      ))}
    </div>
  )
}

function Paging({ view, shown }: Pick<ListFrameProps, 'view' | 'shown'>) {
  const { page, first, hasNewer, hasOlder, newer, older } = view.paging
  const before = useRef(page)
  const nav = useRef<HTMLElement>(null)
  useEffect(() => {
    // Another page is read from its top.
    if (before.current !== page) nav.current?.parentElement?.scrollIntoView()
    before.current = page
  }, [page])
  if (!hasNewer && !hasOlder) return null
  return (
    <nav ref={nav} className="paging" aria-label="Pages">
      <button type="button" disabled={!hasNewer} onClick={newer}>
        Newer
      </button>
      <span aria-live="polite">{shown === 0 ? 'No more' : `${first} to ${first + shown - 1}`}</span>
      <button type="button" disabled={!hasOlder} onClick={older}>
        Older
      </button>
    </nav>
  )
}
