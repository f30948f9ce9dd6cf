import type { BulkActionAnswer } from '../contract/task-list.ts'
import { exitCodes, printJson, printLine, type Terminal } from './output.ts'

/** Prints what an action on many tasks did, and says whether all of it could be done. `named`: how many were named. */
export function describeAction(
  terminal: Terminal,
  answer: BulkActionAnswer,
  { json, verb, named = 0 }: { readonly json: boolean | undefined; readonly verb: string; readonly named?: number },
): number {
  if (json === true) printJson(terminal, answer)
  else if (answer.dry_run) printLine(terminal, `${answer.matched} would be ${verb}.`)
  else printLine(terminal, `${answer.done} of ${answer.matched} ${verb}.`)
  if (json !== true) for (const one of answer.refused) printLine(terminal, `  ${one.task_id}  ${one.detail}`)
  const missing = named - answer.matched
  if (missing > 0 && json !== true)
    printLine(terminal, `${missing} of the ${named} named could not be: there is none, or it was done before.`)
  return answer.refused.length > 0 || missing > 0 ? exitCodes.failed : exitCodes.completed
}
