import { useDeferredValue, useState } from 'react'
import type { Accepted } from '../../src/contract/task.ts'
import { TaskPanel, useTasks } from '../../src/react/index.ts'
import { frontOf, hrefOf, type Address, type useAddress } from './address.ts'
import { NewProject } from './new-project.tsx'
import { SideBySide } from './side-by-side.tsx'
import { TaskList } from './task-list.tsx'
import { Toolbar } from './toolbar.tsx'
import { views } from './views.ts'

export interface WorkspaceProps {
  readonly address: Address
  readonly go: ReturnType<typeof useAddress>['go']
}

/** The list of tasks, and beside it the one that was chosen. */
export function Workspace({ address, go }: WorkspaceProps) {
  const [creating, setCreating] = useState(false)
  const [announcement, setAnnouncement] = useState('')
  const search = useDeferredValue(address.search)
  const { statuses } = views[address.view]
  const tasks = useTasks({
    ...(statuses !== null && { status: [...statuses] }),
    ...(search !== '' && { q: search }),
  })
  const accepted = ({ task_id: task, deduplicated }: Accepted) => {
    setCreating(false)
    setAnnouncement(deduplicated === true ? 'Somebody asked for the same already: you joined it.' : 'Accepted.')
    go({ task })
  }
  return (
    <SideBySide
      chosen={address.task}
      close={() => go({ task: null })}
      back="All tasks"
      panel={(taskId, before) => (
        <TaskPanel
          taskId={taskId}
          before={before}
          taskHref={(task) => hrefOf({ ...address, task })}
          ticketHref={(ticket) => hrefOf({ ...frontOf('approvals'), ticket })}
        />
      )}
    >
      <Toolbar address={address} go={go} create={() => setCreating(true)} />
      <TaskList view={tasks} address={address} go={go} create={() => setCreating(true)} />
      <NewProject open={creating} close={() => setCreating(false)} accepted={accepted} />
      <p className="visually-hidden" role="status">
        {announcement}
      </p>
    </SideBySide>
  )
}
