import type { Ticket } from '../../src/contract/approval.ts'
import { Moment, TicketPanel, TicketState, ticketTitle, useTickets } from '../../src/react/index.ts'
import { frontOf, hrefOf, linkTo, type Address, type useAddress } from './address.ts'
import { ListFrame } from './list-frame.tsx'
import { SideBySide } from './side-by-side.tsx'
import { inboxes, inboxNames } from './views.ts'

interface ApprovalsProps {
  readonly address: Address
  readonly go: ReturnType<typeof useAddress>['go']
  readonly principal: string
}

/** What waits for a decision, and beside it the request that was chosen. */
export function Approvals({ address, go, principal }: ApprovalsProps) {
  const view = useTickets(inboxes[address.inbox].filter)
  return (
    <SideBySide
      chosen={address.ticket}
      close={() => go({ ticket: null })}
      back="All requests"
      panel={(ticketId, before) => (
        <TicketPanel
          ticketId={ticketId}
          principal={principal}
          before={before}
          taskHref={(task) => hrefOf({ ...frontOf('tasks'), task })}
        />
      )}
    >
      <div className="toolbar">
        <h1>Approvals</h1>
        <nav className="views" aria-label="Which requests">
          {inboxNames.map((inbox) => (
            <a
              key={inbox}
              aria-current={inbox === address.inbox ? 'page' : undefined}
              {...linkTo({ ...address, inbox }, go)}
            >
              {inboxes[inbox].title}
            </a>
          ))}
        </nav>
      </div>
      <ListFrame label="Requests" view={view} shown={view.tickets.length} empty={<Nothing inbox={address.inbox} />}>
        <ol className="task-rows" data-changing={view.changing}>
          {view.tickets.map((ticket) => (
            <li key={ticket.ticket_id}>
              <TicketRow ticket={ticket} address={address} go={go} />
            </li>
          ))}
        </ol>
      </ListFrame>
    </SideBySide>
  )
}

function TicketRow({ ticket, address, go }: { readonly ticket: Ticket } & Pick<ApprovalsProps, 'address' | 'go'>) {
  return (
    <a
      className="task-row"
      data-row={ticket.ticket_id}
      aria-current={ticket.ticket_id === address.ticket ? 'true' : undefined}
      {...linkTo({ ...address, ticket: ticket.ticket_id }, go)}
    >
      <TicketState state={ticket.state} />
      <span className="task-what">
        <span className="task-target">{ticketTitle(ticket)}</span>{' '}
        <span className="task-operation">
          {ticket.operation} in {ticket.environment}
        </span>
      </span>
      <span className="task-detail">
        {ticket.state === 'open'
          ? `Asked by ${ticket.requested_by}; rule ${ticket.rule}`
          : `${ticket.state}${ticket.closed_by === null ? '' : ` by ${ticket.closed_by}`}`}
      </span>
      <span className="task-who">{ticket.requested_by}</span>
      <span className="task-when">
        <Moment at={ticket.opened_at} />
      </span>
    </a>
  )
}

const nothing = {
  open: ['Nothing to decide', 'Requests that need your approval appear here, the oldest first.'],
  mine: [
    'No open request of yours',
    'What you ask for and somebody else must agree to appears here until it is decided.',
  ],
  approved: ['Nothing was approved yet', 'Approved requests stay in view here.'],
  rejected: ['Nothing was rejected yet', 'Rejected requests stay in view here.'],
} as const satisfies Record<Address['inbox'], readonly [string, string]>

function Nothing({ inbox }: Pick<Address, 'inbox'>) {
  const [title, text] = nothing[inbox]
  return (
    <div className="blank">
      <h2>{title}</h2>
      <p>{text}</p>
    </div>
  )
}
