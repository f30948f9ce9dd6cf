import { createHmac, randomBytes } from 'node:crypto'

/** A signing secret as Standard Webhooks writes it: `whsec_` and 256 random bits. */
export const newWebhookSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`

export interface SignedMessage {
  readonly id: string
  /** Seconds since 1970: receivers refuse old ones. */
  readonly timestamp: number
  readonly body: string
}

/** The headers of Standard Webhooks. While a secret is being replaced, both sign. */
export function signWebhook(
  { id, timestamp, body }: SignedMessage,
  secrets: readonly string[],
): Record<string, string> {
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
  })
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    ...(signatures.length > 0 && { 'webhook-signature': signatures.join(' ') }),
  }
}
