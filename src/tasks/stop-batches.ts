import { toWireId } from '../contract/ids.ts'
import { cancelMany, type CancelManyOptions } from './act-on-many.ts'
import { selectStopping } from './batch.sql.ts'

/** Cancels what is left of every batch of which an item failed under `on_error: stop`. Again changes nothing. */
export async function stopBatches(options: CancelManyOptions): Promise<void> {
  const stopping = await options.database.transaction({ role: 'sluice_worker' }, selectStopping)
  for (const { batch_id, tenant_id: tenant } of stopping) {
    await cancelMany(options, { tenant, actor: 'on_error: stop', filter: { batch_id: toWireId('batch', batch_id) } })
  }
}
