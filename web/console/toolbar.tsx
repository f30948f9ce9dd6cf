import { linkTo, type Address, type useAddress } from './address.ts'
import { viewNames, views } from './views.ts'

export interface ToolbarProps {
  readonly address: Address
  readonly go: ReturnType<typeof useAddress>['go']
  readonly create: () => void
}

export function Toolbar({ address, go, create }: ToolbarProps) {
  return (
    <div className="toolbar">
      <h1>Tasks</h1>
      <button type="button" className="primary toolbar-new" onClick={create}>
        New project
      </button>
      <nav className="views" aria-label="Which tasks">
        {viewNames.map((view) => (
          <a key={view} aria-current={view === address.view ? 'page' : undefined} {...linkTo({ ...address, view }, go)}>
            {views[view].title}
          </a>
        ))}
      </nav>
      <search className="search">
        <label className="visually-hidden" htmlFor="search">
          Search tasks
        </label>
        <input
          id="search"
          type="search"
          placeholder="Search name, operation, requester"
          autoComplete="off"
          spellCheck={false}
          maxLength={255}
          value={address.search}
          onChange={(event) => go({ search: event.target.value }, { replace: true })}
        />
      </search>
    </div>
  )
}
