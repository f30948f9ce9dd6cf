import { useEffect, useRef, type ReactNode } from 'react'
import { flushSync } from 'react-dom'

export interface SideBySideProps {
  /** What is open beside the list; null for nothing. */
  readonly chosen: string | null
  readonly close: () => void
  /** What the way back is called on a narrow page. */
  readonly back: string
  readonly panel: (chosen: string, before: ReactNode) => ReactNode
  readonly children: ReactNode
}

/** A list, and beside it what was chosen from it; on a narrow page one in place of the other. */
export function SideBySide({ chosen, close, back, panel, children }: SideBySideProps) {
  const beside = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (chosen !== null) beside.current?.focus()
  }, [chosen])

  const leave = () => {
    // At once: on a narrow page the list is drawn again only now.
    flushSync(close)
    // Back to where the reader was, not to the top of the page.
    document.querySelector<HTMLElement>(`[data-row="${CSS.escape(chosen ?? '')}"]`)?.focus()
  }
  const before = (
    <button type="button" className="quiet close" onClick={leave}>
      <span className="close-wide">Close</span>
      <span className="close-narrow">
        <span aria-hidden="true">← </span>
        {back}
      </span>
    </button>
  )
  return (
    <main className="workspace" data-chosen={chosen !== null}>
      <div className="workspace-list">{children}</div>
      {chosen !== null && (
        <div
          ref={beside}
          className="workspace-task"
          tabIndex={-1}
          onKeyDown={(event) => event.key === 'Escape' && leave()}
        >
          {panel(chosen, before)}
        </div>
      )}
    </main>
  )
}
