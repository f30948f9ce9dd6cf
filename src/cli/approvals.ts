import { type Command, Option } from 'commander'
import { duration, shortTarget, type SluiceClient } from '../client/index.ts'
import type { DecisionAnswer, Ticket, TicketDetail, TicketItem } from '../contract/approval.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, paint, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { paintStatus } from './task-text.ts'

interface DecideOptions extends ConnectionOptions {
  readonly comment?: string
  readonly payloadHash?: string
  readonly diffDigest?: string
  readonly items?: readonly string[]
}

interface ListOptions extends ConnectionOptions {
  readonly state: Ticket['state']
  readonly mine?: boolean
  readonly batch?: string
}

/** `sluice approvals list | get | items | approve | reject | withdraw` */
export function addApprovalsCommand(program: Command, terminal: Terminal): void {
  const approvals = program.command('approvals').description('see and decide what waits for an approval')
  addConnectionOptions(
    approvals
      .command('list')
      .description('what you may decide, oldest first')
      .addOption(
        new Option('--state <state>', 'of tickets')
          .choices(['open', 'approved', 'rejected', 'withdrawn', 'expired', 'cancelled'])
          .default('open'),
      )
      .option('--mine', 'what you asked for, in place of what you may decide')
      .option('--batch <batch>', 'only those of a batch'),
  ).action((options: ListOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const filter = { state: options.state, mine: options.mine === true, batch_id: options.batch }
      const page = await client.listTickets(filter, { signal })
      if (options.json === true) printJson(terminal, page)
      else if (page.items.length === 0) printLine(terminal, 'No tickets.')
      else for (const ticket of page.items) printLine(terminal, summary(ticket))
      return exitCodes.completed
    }),
  )

  addConnectionOptions(approvals.command('get <ticket>').description('one ticket, with what the cluster says')).action(
    (ticketId: string, options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const ticket = await (await connect(options, terminal.env)).getTicket(ticketId, { signal })
        if (options.json === true) printJson(terminal, ticket)
        else printTicket(terminal, ticket)
        return exitCodes.completed
      }),
  )

  addConnectionOptions(
    approvals.command('items <ticket>').description('every change that a ticket of a batch is about'),
  ).action((ticketId: string, options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      const items = await readItems(await connect(options, terminal.env), ticketId, signal)
      if (options.json === true) printJson(terminal, { items })
      else
        for (const { position, task_id, status, target, payload } of items)
          printLine(
            terminal,
            [
              position,
              task_id,
              paintStatus(terminal, status),
              payload.operation,
              shortTarget(target),
              JSON.stringify(payload.input),
            ].join('  '),
          )
      return exitCodes.completed
    }),
  )

  for (const verb of ['approve', 'reject'] as const) {
    const command = approvals
      .command(`${verb} <ticket>`)
      .description(verb === 'approve' ? 'agree: with the last approval needed the tasks run' : 'refuse: the tasks end')
      .option('--comment <text>', 'kept with the decision')
      .option('--payload-hash <hash>', 'what you saw; without it, what the ticket holds now')
      .option('--diff-digest <digest>', 'of the dry run that you saw; kept with the decision')
    if (verb === 'reject') {
      command.option('--items <item...>', 'of a batch: only these, by task id or place in the batch; the rest stays')
    }
    addConnectionOptions(command).action((ticketId: string, options: DecideOptions) =>
      runCommand(terminal, options, async (signal) => {
        const client = await connect(options, terminal.env)
        return answered(terminal, options, await decide(client, { verb, ticketId, options, signal }))
      }),
    )
  }

  addConnectionOptions(
    approvals
      .command('withdraw <ticket>')
      .description('take back what you asked for')
      .option('--comment <text>', 'kept in the log'),
  ).action((ticketId: string, options: DecideOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const said = options.comment === undefined ? {} : { comment: options.comment }
      return answered(terminal, options, await client.withdrawTicket(ticketId, said, { signal }))
    }),
  )
}

interface Decision {
  readonly verb: 'approve' | 'reject'
  readonly ticketId: string
  readonly options: DecideOptions
  readonly signal: AbortSignal
}

async function decide(client: SluiceClient, { verb, ticketId, options, signal }: Decision): Promise<DecisionAnswer> {
  const { comment, payloadHash } = options
  const shown = payloadHash === undefined ? await client.getTicket(ticketId, { signal }) : undefined
  const diffDigest = options.diffDigest ?? shown?.dry_run?.diff_digest ?? undefined
  const said = {
    payload_hash: payloadHash ?? shown?.payload_hash ?? '',
    ...(shown && { rule_digest: shown.rule_digest }),
    ...(diffDigest !== undefined && { diff_digest: diffDigest }),
    ...(comment !== undefined && { comment }),
  }
  if (verb === 'approve') return client.approveTicket(ticketId, said, { signal })
  const items = options.items?.map((item) => (/^\d+$/.test(item) ? Number(item) : item))
  return client.rejectTicket(ticketId, { ...said, ...(items && { items }) }, { signal })
}

async function readItems(client: SluiceClient, ticketId: string, signal: AbortSignal): Promise<TicketItem[]> {
  const items: TicketItem[] = []
  let token: string | undefined
  do {
    const page = await client.ticketItems(ticketId, { page_size: 1_000, page_token: token }, { signal })
    items.push(...page.items)
    token = page.next_page_token ?? undefined
  } while (token !== undefined)
  return items
}

function answered(terminal: Terminal, options: ConnectionOptions, answer: DecisionAnswer): number {
  if (options.json === true) printJson(terminal, answer)
  else {
    const { ticket, task, batch } = answer
    const about = task
      ? `${paintStatus(terminal, task.status)}  ${task.task_id}`
      : `${batch?.status}  ${ticket.batch_id}`
    printLine(terminal, `${about}  ${ticket.needs ?? `ticket ${ticket.state}`}`)
  }
  return exitCodes.completed
}

function summary(ticket: Ticket): string {
  const age = duration(Date.now() - Date.parse(ticket.opened_at))
  const { ticket_id, operation, target, items, requested_by, needs, state } = ticket
  const what = items ? `${items.total} items` : shortTarget(target)
  return [ticket_id, operation, what, `by ${requested_by}`, age, needs ?? state].join('  ')
}

function printTicket(terminal: Terminal, ticket: TicketDetail): void {
  const fields: [string, string | null][] = [
    ['ticket', ticket.ticket_id],
    ['task', ticket.task_id],
    ['batch', ticket.batch_id],
    [
      'items',
      ticket.items &&
        `${ticket.items.waiting} of ${ticket.items.total} wait; see: sluice approvals items ${ticket.ticket_id}`,
    ],
    ['state', ticket.state],
    ['operation', ticket.operation],
    ['target', ticket.target],
    ['environment', ticket.environment],
    ['requested by', [ticket.requested_by, ...ticket.joined_by].join(', ')],
    ['rule', `${ticket.rule} (policy version ${ticket.policy_version})`],
    ['needs', ticket.needs],
    ['you', ticket.may_decide ? 'may decide' : ticket.why_not],
    ['input', ticket.payload && JSON.stringify(ticket.payload.input)],
    ['options', ticket.payload && JSON.stringify(ticket.payload.options)],
    ['payload hash', ticket.payload_hash],
    ...ticket.decisions.map(({ decision, principal, comment, items, dropped }): [string, string] => [
      dropped ? `${decision} (dropped)` : decision,
      [principal, items && ` on ${items.length} items`, comment === null ? '' : `: ${comment}`].join(''),
    ]),
    ['diff digest', ticket.dry_run?.diff_digest ?? null],
    ['dry run', ticket.dry_run?.error ?? null],
  ]
  for (const [name, value] of fields) {
    if (value !== null) printLine(terminal, `${paint(terminal, 'dim', name.padEnd(13))} ${value}`)
  }
  const diff = ticket.dry_run?.diff ?? ''
  for (const line of [...(ticket.dry_run?.warnings ?? []), ...(diff === '' ? [] : diff.split('\n'))])
    printLine(terminal, `  ${line}`)
}
