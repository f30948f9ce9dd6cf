export type TicketRefusal =
  | 'not_found'
  | 'ticket_closed'
  | 'payload_changed'
  | 'rule_changed'
  | 'already_decided'
  | 'own_request'
  | 'not_an_approver'
  | 'not_the_requester'
  | 'unknown_item'

/** A decision that cannot be taken; nothing was written. */
export class TicketRefusedError extends Error {
  readonly code: TicketRefusal
  /** Which of the named items it is about, where it is about one. */
  readonly index: number | undefined
  constructor(code: TicketRefusal, message: string, index?: number) {
    super(message)
    this.code = code
    this.index = index
  }
}
