import type { SecretBox } from '../platform/secret-box.ts'
import type { WebhookRow } from './webhooks.sql.ts'

type Owner = Pick<WebhookRow, 'tenant_id' | 'webhook_id'>
export type WebhookField = 'secret' | 'url'

/** What a sealed field of a webhook belongs to: it opens in its own row, and its tenant, only. */
export const sealedWebhookFor = ({ tenant_id, webhook_id }: Owner, field: WebhookField): string =>
  `webhook/${tenant_id}/${webhook_id}/${field}`

export function openWebhookField(box: SecretBox, sealed: string, owner: Owner, field: WebhookField): string {
  // The first version named the row alone.
  const first = field === 'secret' ? owner.webhook_id : `${owner.webhook_id}/url`
  return box.open(sealed, sealed.startsWith('v1.') ? first : sealedWebhookFor(owner, field))
}
