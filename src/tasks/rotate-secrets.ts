import { appendRotation } from './append-rotation.sql.ts'
import type { Database, Transaction } from '../database/database.ts'
import { openWebhookField, sealedWebhookFor, type WebhookField } from '../notifications/sealed-webhook.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import { replaceSealed, type SealedRow, type SecretPlace, secretPlaces, selectSealed } from './rotate-secrets.sql.ts'

export interface RotateSecretsOptions {
  readonly database: Database
  /** Its first key is the one to come; the others open what is under them still. */
  readonly secrets: SecretBox
  /** Only count. @default false */
  readonly dryRun?: boolean
}

export interface Rotation {
  /** The id of the key that everything is under from now on. */
  readonly keyId: string
  /** Data keys that were wrapped anew. */
  readonly rewrapped: number
  /** What was under this key before. */
  readonly current: number
}

const pageSize = 500

/**
 * Wraps the data keys of all tenants' secrets with the first key: the secrets themselves stay as they are, and are not
 * opened. Processes that know both keys go on meanwhile. Running it again finds nothing to do.
 */
export async function rotateSecrets({ database, secrets, dryRun = false }: RotateSecretsOptions): Promise<Rotation> {
  let rewrapped = 0
  let current = 0
  for (const place of secretPlaces) {
    for (let after = ''; ;) {
      const page = await database.transaction({ role: 'sluice_worker' }, async (tx) => {
        const rows = await selectSealed(tx, place, { after, limit: pageSize })
        const old = rows.filter(({ sealed }) => secrets.keyIdOf(sealed) !== secrets.keyId)
        if (!dryRun) await rewrap(tx, secrets, place, old)
        return { rows, old: old.length }
      })
      rewrapped += page.old
      current += page.rows.length - page.old
      const last = page.rows.at(-1)
      if (!last || page.rows.length < pageSize) break
      after = last.key
    }
  }
  return { keyId: secrets.keyId, rewrapped, current }
}

async function rewrap(tx: Transaction, box: SecretBox, place: SecretPlace, rows: readonly SealedRow[]): Promise<void> {
  const tenants = new Map<string, number>()
  for (const row of rows) {
    if (!(await replaceSealed(tx, place, { ...row, rewrapped: underFirstKey(box, place, row) }))) continue
    tenants.set(row.tenant, (tenants.get(row.tenant) ?? 0) + 1)
  }
  for (const [tenant, secrets] of tenants) {
    await appendRotation(tx, { tenant, data: { place, secrets, key: box.keyId } })
  }
}

function underFirstKey(box: SecretBox, place: SecretPlace, { tenant, key, sealed }: SealedRow): string {
  if (box.keyIdOf(sealed) !== undefined) return box.rewrap(sealed)
  // From before there were data keys: webhooks only. Sealed anew, as they are sealed today.
  const field: WebhookField = place === 'webhook_url' ? 'url' : 'secret'
  const owner = { tenant_id: tenant, webhook_id: key }
  return box.seal(openWebhookField(box, sealed, owner, field), sealedWebhookFor(owner, field))
}
