import { eventTypes } from '../src/contract/event.ts'
import { isTerminal, type TaskStatus, taskStatuses } from '../src/contract/task-status.ts'
import { legalMoves, type LegalMove, type StateMapping, stateMappings, type Writer } from '../src/tasks/task-state.ts'

interface Move extends LegalMove {
  readonly event: string
}

const writerNames = { sluice_api: 'API', sluice_worker: 'worker' } as const satisfies Record<Writer, string>

// What `task.requested` makes: the gate, a time in the future, or neither.
const firstStatuses: readonly TaskStatus[] = ['AWAITING_APPROVAL', 'SCHEDULED', 'PENDING']

/** `docs/task-states.md`: the table of legal moves as a diagram and as a list. */
export function taskStatesPage(): string {
  const moves: Move[] = eventTypes.flatMap((type) =>
    legalMoves[type].map((move) => ({ ...move, event: type.replace(/^task\./, '') })),
  )
  return [
    '# Task states',
    '<!-- Made by scripts/generate.ts from src/tasks/task-state.ts: change that table and run `npm run generate`. -->',
    'Each arrow is an event of the log. The database holds the same table and refuses every other move: a status that',
    'ends a task is never left, and only the writer named below may append the event.',
    '',
    '```mermaid',
    'stateDiagram-v2',
    ...firstStatuses.map((status) => `  [*] --> ${status}: requested`),
    ...arrows(moves),
    ...taskStatuses.filter(isTerminal).map((status) => `  ${status} --> [*]`),
    '```',
    '',
    '## Every move',
    '| event | from | to | written by |',
    '|---|---|---|---|',
    `| \`task.requested\` | – | ${firstStatuses.join(', ')} | API |`,
    ...eventTypes.flatMap((type) => rows(type)),
    '',
    '## In the engine, and in the unified async model',
    'A status is the task’s; its job is the engine’s row (`pgboss.job.state`), and the unified async model has eight states for',
    'what a job can be in. The transaction that moves a task moves its job, too.',
    '',
    '| status | which | engine’s state | unified async model |',
    '|---|---|---|---|',
    ...taskStatuses.flatMap((status) => mappingRows(status)),
    '',
  ].join('\n')
}

/** One arrow for each pair of statuses, with all the events that take it. What changes no status is in the list only. */
function arrows(moves: readonly Move[]): string[] {
  const byPair = Map.groupBy(
    moves.filter(({ from, to }) => from !== to),
    ({ from, to }) => `${from} --> ${to}`,
  )
  return [...byPair].map(
    ([pair, ways]) => `  ${pair}: ${[...new Set(ways.map(({ event }) => event.replaceAll('_', ' ')))].join(', ')}`,
  )
}

/** One row for each event, target and writer. */
function rows(type: keyof typeof legalMoves): string[] {
  const moves: readonly LegalMove[] = legalMoves[type]
  const grouped = Map.groupBy(moves, ({ from, to, by }) => `${from === to ? 'unchanged' : to} | ${writerNames[by]}`)
  return [...grouped].map(([end, ways]) => `| \`${type}\` | ${ways.map(({ from }) => from).join(', ')} | ${end} |`)
}

function mappingRows(status: TaskStatus): string[] {
  const mappings: readonly StateMapping[] = stateMappings[status]
  return mappings.map(
    ({ when, engine, model }) =>
      `| \`${status}\` | ${when ?? ''} | ${engine === null ? 'no job' : engine.replace(/^\w+/, '`$&`')} | ${model ?? '–'} |`,
  )
}
