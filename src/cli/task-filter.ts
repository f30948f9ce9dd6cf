import { type Command, Option } from 'commander'
import type { BulkFilter } from '../contract/task-list.ts'
import { type TaskStatus, taskStatuses } from '../contract/task-status.ts'

/** The options that say which tasks are meant. */
export interface FilterOptions {
  readonly status?: readonly TaskStatus[]
  readonly operation?: readonly string[]
  readonly label?: readonly string[]
  readonly target?: string
  readonly requestedBy?: string
  readonly batch?: string
  readonly createdAfter?: string
  readonly createdBefore?: string
  readonly search?: string
}

export function addFilterOptions(command: Command): Command {
  return command
    .addOption(new Option('--status <status...>', 'in any of these').choices(taskStatuses))
    .option('--operation <type...>', 'of any of these kinds')
    .option('--label <pair...>', 'with all of these (key=value)')
    .option('--target <target>', 'on this object (cluster:group/Kind/namespace/name)')
    .option('--requested-by <principal>', 'asked for by')
    .option('--batch <batch>', 'items of this batch')
    .option('--created-after <time>', 'asked for after (RFC 3339)')
    .option('--created-before <time>', 'asked for before (RFC 3339)')
    .option('--search <text>', 'where this text occurs')
}

type SaidFilter = Omit<BulkFilter, 'task_ids' | 'dead_lettered'>

/** What was said of them; undefined when nothing was. */
export function toFilter(options: FilterOptions): SaidFilter | undefined {
  const filter: SaidFilter = {
    ...(options.status && { status: [...options.status] }),
    ...(options.operation && { operation: [...options.operation] }),
    ...(options.label && { label: [...options.label] }),
    ...(options.target !== undefined && { target: options.target }),
    ...(options.requestedBy !== undefined && { requested_by: options.requestedBy }),
    ...(options.batch !== undefined && { batch_id: options.batch }),
    ...(options.createdAfter !== undefined && { created_after: options.createdAfter }),
    ...(options.createdBefore !== undefined && { created_before: options.createdBefore }),
    ...(options.search !== undefined && { q: options.search }),
  }
  return Object.keys(filter).length > 0 ? filter : undefined
}
