import { useId, useState, type ReactNode } from 'react'
import { localTimes, shortTarget } from '../client/index.ts'
import type { Ticket, TicketDetail } from '../contract/approval.ts'
import { Json, type LinksTasks, Moment, StatusBadge, TaskLink, TicketState } from './task-parts.tsx'
import { useDecision, useTicket, useTicketItems, type Verdict } from './use-tickets.ts'

export interface TicketPanelProps extends LinksTasks {
  readonly ticketId: string
  /** Who looks at it: the requester may withdraw. @default null */
  readonly principal?: string | null
  /** Put before the title: a way back, for instance. */
  readonly before?: ReactNode
}

/** One approval request: who wants what, what it would change, what is missing, and the decision. Unstyled; classes `sluice-…`. */
export function TicketPanel({ ticketId, principal = null, before, taskHref }: TicketPanelProps) {
  const { state, ticket, stale, error, retry } = useTicket(ticketId)
  if (ticket !== null && state === 'ready') {
    return (
      <article className="sluice-task" aria-label={`Approval of ${ticket.operation} ${ticketTitle(ticket)}`}>
        <header className="sluice-task-header">
          {before}
          <p className="sluice-task-operation">{ticket.operation}</p>
          <h2>{ticketTitle(ticket)}</h2>
          <p className="sluice-task-state" aria-live="polite">
            <TicketState state={ticket.state} />
            <span className="sluice-environment">{ticket.environment}</span>
          </p>
        </header>
        {stale && <p className="sluice-task-stale">Reconnecting. This may be some seconds old.</p>}
        {ticket.needs !== null && <p className="sluice-task-why">{localTimes(ticket.needs)}</p>}
        <DryRun dryRun={ticket.dry_run} />
        {ticket.payload !== null && <Json title="Exactly what is asked for" value={ticket.payload.input} />}
        {/* A new form for another ticket, or for one that changed while it was read. */}
        <Decide key={`${ticket.ticket_id} ${ticket.payload_hash}`} ticket={ticket} principal={principal} />
        <Decisions ticket={ticket} />
        <TicketFacts ticket={ticket} taskHref={taskHref} />
      </article>
    )
  }
  return (
    <article className="sluice-task" aria-label="Approval" aria-busy={state === 'loading'}>
      {before}
      {state === 'loading' && <p className="sluice-task-loading">Loading the request…</p>}
      {state === 'missing' && (
        <div className="sluice-task-missing">
          <h2>No such request</h2>
          <p>It is older than what is kept, or belongs to somebody else.</p>
        </div>
      )}
      {state === 'error' && (
        <div className="sluice-task-error" role="alert">
          <h2>The request cannot be shown</h2>
          <p>{error?.message}</p>
          <button type="button" onClick={retry}>
            Try again
          </button>
        </div>
      )}
    </article>
  )
}

function DryRun({ dryRun }: { readonly dryRun: TicketDetail['dry_run'] }) {
  if (dryRun === null) return null
  return (
    <section className="sluice-diff" aria-label="Dry run">
      <h3>What it would change now</h3>
      {dryRun.error !== null && <p className="sluice-task-problem">{dryRun.error}</p>}
      {dryRun.warnings.map((warning) => (
        <p key={warning} className="sluice-warning">
          {warning}
        </p>
      ))}
      {dryRun.diff !== null && (
        <pre tabIndex={0} aria-label="Difference">
          {dryRun.diff === '' ? 'Nothing.' : dryRun.diff.split('\n').map(toDiffLine)}
        </pre>
      )}
    </section>
  )
}

function toDiffLine(line: string, n: number) {
  const change = line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : 'same'
  return (
    // Lines have no name but their place, and never move.
    <span key={n} data-change={change}>
      {line}
      {'\n'}
    </span>
  )
}

const sendingWords = {
  approve: 'Approving…',
  reject: 'Rejecting…',
  withdraw: 'Withdrawing…',
} as const satisfies Record<Verdict, string>

function Decide({ ticket, principal }: { readonly ticket: TicketDetail; readonly principal: string | null }) {
  const { sending, error, decide } = useDecision(ticket)
  const [comment, setComment] = useState('')
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const id = useId()
  const open = ticket.state === 'open'
  const own = principal !== null && principal === ticket.requested_by
  const items = ticket.items !== null && (
    <TicketItems ticket={ticket} chosen={chosen} choose={open && ticket.may_decide ? setChosen : null} />
  )
  if (!open || (!ticket.may_decide && !own)) {
    return (
      <>
        {items}
        {open && ticket.why_not !== null && <p className="sluice-why-not">{ticket.why_not}</p>}
      </>
    )
  }
  const button = (verdict: Verdict, text: string, className?: string) => (
    <button
      type="button"
      className={className}
      aria-disabled={sending !== null}
      onClick={() =>
        sending === null &&
        void decide({ verdict, comment, ...(verdict === 'reject' && chosen.size > 0 && { items: [...chosen] }) })
      }
    >
      {sending === verdict ? sendingWords[verdict] : text}
    </button>
  )
  return (
    <>
      {items}
      <section className="sluice-decide" aria-label="Decide">
        <label htmlFor={id}>
          Comment <span className="field-optional">optional</span>
        </label>
        <textarea
          id={id}
          rows={2}
          maxLength={2000}
          value={comment}
          onChange={(event) => setComment(event.target.value)}
        />
        <div className="sluice-decide-buttons">
          {/* Whoever has chosen some to reject does not mean to approve them. */}
          {ticket.may_decide && chosen.size === 0 && button('approve', 'Approve', 'primary')}
          {ticket.may_decide &&
            button('reject', chosen.size === 0 ? 'Reject' : `Reject ${chosen.size} chosen`, 'sluice-danger')}
          {own && button('withdraw', 'Withdraw')}
        </div>
        <p role="alert" className="sluice-task-refused">
          {error?.message}
        </p>
        {own && ticket.why_not !== null && <p className="sluice-why-not">{ticket.why_not}</p>}
      </section>
    </>
  )
}

interface TicketItemsProps {
  readonly ticket: Ticket
  readonly chosen: ReadonlySet<string>
  /** Null where nothing is to choose. */
  readonly choose: ((chosen: ReadonlySet<string>) => void) | null
}

function TicketItems({ ticket, chosen, choose }: TicketItemsProps) {
  const { state, items, error, hasMore, more } = useTicketItems(ticket.ticket_id)
  const toggle = (taskId: string) => {
    const next = new Set(chosen)
    if (!next.delete(taskId)) next.add(taskId)
    choose?.(next)
  }
  return (
    <section className="sluice-items" aria-label="Changes" aria-busy={state === 'loading'}>
      <h3>
        {ticket.items?.waiting} of {ticket.items?.total} changes wait for the decision
      </h3>
      {state === 'error' && <p className="sluice-task-refused">{error?.message}</p>}
      <ol>
        {items.map(({ task_id, target, status, payload }) => (
          <li key={task_id}>
            {choose !== null && status === 'AWAITING_APPROVAL' && (
              <input
                type="checkbox"
                aria-label={`Choose ${shortTarget(target) || task_id}`}
                checked={chosen.has(task_id)}
                onChange={() => toggle(task_id)}
              />
            )}
            <details>
              <summary>
                {shortTarget(target) || task_id} <span>{payload.operation}</span> <StatusBadge status={status} />
              </summary>
              <pre tabIndex={0} aria-label="Input">
                {JSON.stringify(payload.input, null, 2)}
              </pre>
            </details>
          </li>
        ))}
      </ol>
      {hasMore && (
        <button type="button" onClick={more}>
          Show more
        </button>
      )}
    </section>
  )
}

const decisionWords = { approve: 'Approved', reject: 'Rejected' } as const

function Decisions({ ticket }: { readonly ticket: Ticket }) {
  if (ticket.decisions.length === 0 && ticket.closed_at === null) return null
  return (
    <section className="sluice-timeline" aria-label="Decisions">
      <h3>Decisions</h3>
      <ol>
        {ticket.decisions.map(({ decision, principal, comment, items, at, dropped }) => (
          <li key={`${principal} ${at}`} data-event={decision === 'approve' ? 'task.approved' : 'task.rejected'}>
            <span className="sluice-timeline-title">
              {decisionWords[decision]} by {principal}
              {items !== null && `, for ${items.length} of the changes`}
              {dropped && ', under a rule that has changed since'}
            </span>
            <Moment at={at} />
            {comment !== null && <span className="sluice-timeline-detail">{comment}</span>}
          </li>
        ))}
        {ticket.closed_at !== null && (
          <li>
            <span className="sluice-timeline-title">
              Closed{ticket.closed_by === null ? '' : ` by ${ticket.closed_by}`}: {ticket.state}
            </span>
            <Moment at={ticket.closed_at} />
          </li>
        )}
      </ol>
    </section>
  )
}

function TicketFacts({ ticket, taskHref }: { readonly ticket: Ticket } & LinksTasks) {
  const facts: readonly (readonly [string, ReactNode])[] = [
    ['Requested by', [ticket.requested_by, ...ticket.joined_by].join(', ')],
    ['Opened', <Moment key="opened" at={ticket.opened_at} />],
    ['Expires', <Moment key="expires" at={ticket.expires_at} />],
    ['Rule', `${ticket.rule} (policy version ${ticket.policy_version})`],
    ...ticket.stages.map(
      ({ name, approvals, quorum }) => [`Stage ${name}`, `${approvals} of ${quorum} approvals`] as const,
    ),
    ['Payload', <code key="hash">{ticket.payload_hash.slice(0, 16)}…</code>],
    ['Task', ticket.task_id !== null && <TaskLink key="task" taskId={ticket.task_id} taskHref={taskHref} />],
    ['Batch', ticket.batch_id !== null && <code key="batch">{ticket.batch_id}</code>],
  ]
  return (
    <section className="sluice-facts" aria-label="Details">
      <dl>
        {facts.map(
          ([name, value]) =>
            value !== false && (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ),
        )}
      </dl>
    </section>
  )
}

/** What it is about, in a word or two. */
export function ticketTitle({ target, items, ticket_id: id }: Ticket): string {
  return items === null ? shortTarget(target) || id : `${items.total} changes`
}
