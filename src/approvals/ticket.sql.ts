import { sql } from 'kysely'
import type { Selectable } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { DecisionsTable, TicketState, TicketsTable } from '../database/tables.ts'
import type { Stage, Verdict } from './policy.ts'

export type TicketRow = Selectable<TicketsTable>
export type DecisionRow = Selectable<DecisionsTable>

/** Holds the ticket until the transaction ends: whoever decides, cancels or expires it comes one after the other. */
export async function lockTicket(
  tx: Transaction,
  ticketId: string,
): Promise<(TicketRow & { readonly overdue: boolean }) | undefined> {
  const { rows } = await sql<TicketRow & { overdue: boolean }>`
    select *, expires_at <= clock_timestamp() as overdue from sluice.tickets where ticket_id = ${ticketId}::uuid
    for update`.execute(tx)
  return rows[0]
}

/** Closes an open ticket. False when it was closed already. */
export async function closeTicket(
  tx: Transaction,
  ticketId: string,
  { state, by }: { readonly state: Exclude<TicketState, 'open'>; readonly by: string },
): Promise<boolean> {
  const { numAffectedRows = 0n } = await sql`
    update sluice.tickets set state = ${state}, closed_at = clock_timestamp(), closed_by = ${by}
    where ticket_id = ${ticketId}::uuid and state = 'open'`.execute(tx)
  return numAffectedRows === 1n
}

export async function enterStage(tx: Transaction, ticketId: string, stage: number): Promise<void> {
  await tx.updateTable('tickets').set({ stage }).where('ticket_id', '=', ticketId).execute()
}

export interface Binding {
  readonly verdict: Extract<Verdict, { outcome: 'approval' }>
  readonly version: number
  readonly environment: string
}

/** Binds the ticket to the rule that it meets now. Decisions given under another rule count no more; returns whose. */
export async function rebindTicket(
  tx: Transaction,
  ticketId: string,
  { verdict, version, environment }: Binding,
): Promise<string[]> {
  await sql`update sluice.tickets set rule = ${verdict.rule}, rule_digest = ${verdict.ruleDigest},
      policy_version = ${version}::int, environment = ${environment}, stages = ${JSON.stringify(verdict.stages)}::jsonb,
      stage = 0, expires_at = clock_timestamp() + make_interval(secs => ${verdict.expiresInMs / 1000}::float8)
    where ticket_id = ${ticketId}::uuid`.execute(tx)
  return dropDecisions(tx, ticketId)
}

/** What was said so far counts no more: it was about something else. Returns whose it was. */
export async function dropDecisions(tx: Transaction, ticketId: string): Promise<string[]> {
  const { rows } = await sql<{ principal: string }>`update sluice.decisions set dropped_at = clock_timestamp()
    where ticket_id = ${ticketId}::uuid and dropped_at is null and items is null returning principal`.execute(tx)
  return rows.map(({ principal }) => principal)
}

export async function keepTicket(tx: Transaction, ticketId: string, version: number): Promise<void> {
  await tx.updateTable('tickets').set({ policy_version: version }).where('ticket_id', '=', ticketId).execute()
}

export interface NewDecision {
  readonly ticket: TicketRow
  readonly decision: 'approve' | 'reject'
  readonly principal: string
  /** Who else had the token in hand that it is given with. */
  readonly made_by: readonly string[]
  readonly comment: string | null
  readonly diffDigest: string | null
  /** UUIDs of the tasks that it is about; all that the ticket holds by default. */
  readonly items?: readonly string[] | undefined
}

export async function recordDecision(tx: Transaction, decision: NewDecision): Promise<void> {
  const { ticket } = decision
  await tx
    .insertInto('decisions')
    .values({
      ticket_id: ticket.ticket_id,
      tenant_id: ticket.tenant_id,
      stage: ticket.stage,
      decision: decision.decision,
      principal: decision.principal,
      made_by: [...decision.made_by],
      comment: decision.comment,
      payload_hash: ticket.payload_hash,
      rule_digest: ticket.rule_digest,
      diff_digest: decision.diffDigest,
      items: decision.items ? [...decision.items] : null,
    })
    .execute()
}

/** What counts: decisions on the whole ticket, under the rule in force. Oldest first. */
export function readDecisions(tx: Transaction, ticketId: string): Promise<DecisionRow[]> {
  return tx
    .selectFrom('decisions')
    .selectAll()
    .where('ticket_id', '=', ticketId)
    .where('dropped_at', 'is', null)
    .where('items', 'is', null)
    .orderBy('decision_id')
    .execute()
}

/** Whose approval a stage takes. */
export function mayDecide(
  stage: Stage | undefined,
  person: { readonly roles: readonly string[]; readonly groups?: readonly string[] },
): boolean {
  if (!stage) return false
  return (
    stage.roles.some((role) => person.roles.includes(role)) ||
    stage.groups.some((group) => person.groups?.includes(group) === true)
  )
}
