import type { BulkActionAnswer } from '../contract/task-list.ts'
import { exitCodes, printJson, printLine, type Terminal } from './output.ts'

/** Prints what an action on many tasks did, and says whether all of it could be done. */
export function describeAction(
  terminal: Terminal,
  answer: BulkActionAnswer,
  { json, verb }: { readonly json: boolean | undefined; readonly verb: string },
): number {
  if (json === true) printJson(terminal, answer)
  else if (answer.dry_run) printLine(terminal, `${answer.matched} would be ${verb}.`)
  else printLine(terminal, `${answer.done} of ${answer.matched} ${verb}.`)
  if (json !== true) for (const one of answer.refused) printLine(terminal, `  ${one.task_id}  ${one.detail}`)
  return answer.refused.length > 0 ? exitCodes.failed : exitCodes.completed
}
