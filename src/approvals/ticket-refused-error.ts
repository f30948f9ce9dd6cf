export type TicketRefusal =
  | 'not_found'
  | 'ticket_closed'
  | 'payload_changed'
  | 'rule_changed'
  | 'already_decided'
  | 'own_request'
  | 'not_an_approver'
  | 'not_the_requester'

/** A decision that cannot be taken; nothing was written. */
export class TicketRefusedError extends Error {
  readonly code: TicketRefusal
  constructor(code: TicketRefusal, message: string) {
    super(message)
    this.code = code
  }
}
