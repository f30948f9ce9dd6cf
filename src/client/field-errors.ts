import type { Problem } from '../contract/problem.ts'

/** One refused field of an operation's input, under the name it was given by. */
export interface FieldError {
  /** `spec.cpu`; '' when the input as a whole was refused. */
  readonly field: string
  readonly message: string
}

/** The refused fields of a problem document: pointers such as `/input/spec/a~1b` become `spec.a/b`. */
export function fieldErrors(problem: Problem): FieldError[] {
  return (problem.errors ?? []).map(({ pointer, message }) => {
    const parts = pointer.split('/').slice(1)
    const path = parts[0] === 'input' ? parts.slice(1) : parts
    return { field: path.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')).join('.'), message }
  })
}
