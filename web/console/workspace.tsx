import { useDeferredValue, useEffect, useRef, useState } from 'react'
import { flushSync } from 'react-dom'
import type { Accepted } from '../../src/contract/task.ts'
import { TaskPanel, useTasks } from '../../src/react/index.ts'
import { useAddress } from './address.ts'
import { NewProject } from './new-project.tsx'
import { TaskList } from './task-list.tsx'
import { Toolbar } from './toolbar.tsx'
import { views } from './views.ts'

/** The list of tasks, and beside it the one that was chosen. */
export function Workspace() {
  const { address, go } = useAddress()
  const [creating, setCreating] = useState(false)
  const [announcement, setAnnouncement] = useState('')
  const search = useDeferredValue(address.search)
  const { statuses } = views[address.view]
  const tasks = useTasks({
    ...(statuses !== null && { status: [...statuses] }),
    ...(search !== '' && { q: search }),
  })
  const panel = useRef<HTMLDivElement>(null)
  const chosen = address.task
  useEffect(() => {
    if (chosen !== null) panel.current?.focus()
  }, [chosen])

  const close = () => {
    // At once: on a narrow page the list is drawn again only now.
    flushSync(() => go({ task: null }))
    // Back to where the reader was, not to the top of the page.
    document.querySelector<HTMLElement>(`[data-task="${CSS.escape(chosen ?? '')}"]`)?.focus()
  }
  const accepted = ({ task_id: task, deduplicated }: Accepted) => {
    setCreating(false)
    setAnnouncement(deduplicated === true ? 'Somebody asked for the same already: you joined it.' : 'Accepted.')
    go({ task })
  }
  return (
    <main className="workspace" data-chosen={chosen !== null}>
      <div className="workspace-list">
        <Toolbar address={address} go={go} create={() => setCreating(true)} />
        <TaskList view={tasks} address={address} go={go} create={() => setCreating(true)} />
      </div>
      {chosen !== null && (
        <div
          ref={panel}
          className="workspace-task"
          tabIndex={-1}
          onKeyDown={(event) => event.key === 'Escape' && close()}
        >
          <TaskPanel
            taskId={chosen}
            before={
              <button type="button" className="quiet close" onClick={close}>
                <span className="close-wide">Close</span>
                <span className="close-narrow">
                  <span aria-hidden="true">← </span>All tasks
                </span>
              </button>
            }
          />
        </div>
      )}
      <NewProject open={creating} close={() => setCreating(false)} accepted={accepted} />
      <p className="visually-hidden" role="status">
        {announcement}
      </p>
    </main>
  )
}
