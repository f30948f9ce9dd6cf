import { useMutation, useQueryClient } from '@tanstack/react-query'
import { fieldErrors, SluiceProblem, type SubmitOptions } from '../client/index.ts'
import type { Accepted } from '../contract/task.ts'
import { taskKeys } from './query-keys.ts'
import { useSluiceClient } from './sluice-provider.tsx'
import { mutationStates } from './use-task.ts'

export interface SubmitView {
  readonly state: 'idle' | 'sending' | 'accepted' | 'refused'
  readonly accepted: Accepted | null
  readonly error: Error | null
  /** Message by field of the input (`name`, `spec.cpu`) when the server refused some. */
  readonly fieldErrors: Readonly<Record<string, string>>
  /** Resolves with the accepted task, or with null after a refusal, which `error` and `fieldErrors` then hold. */
  readonly submit: (input: Readonly<Record<string, unknown>>, options?: SubmitOptions) => Promise<Accepted | null>
  /** Back to `idle`, as for a new form. */
  readonly reset: () => void
}

/** Asks for changes of one kind, for instance `project.create`. */
export function useSubmit(operation: string): SubmitView {
  const client = useSluiceClient()
  const queryClient = useQueryClient()
  const { status, data, error, mutateAsync, reset } = useMutation({
    mutationFn: ({
      input,
      options,
    }: {
      input: Readonly<Record<string, unknown>>
      options?: SubmitOptions | undefined
    }) => client.submit(operation, input, options),
    // The live event does the same; this is for when there is no live connection.
    onSuccess: () => void queryClient.invalidateQueries({ queryKey: taskKeys.lists }),
  })
  const problem = error instanceof SluiceProblem ? error.problem : null
  const refused = problem === null ? [] : fieldErrors(problem)
  return {
    state: mutationStates[status],
    accepted: data ?? null,
    error,
    fieldErrors: Object.fromEntries(refused.map(({ field, message }) => [field, message])),
    submit: (input, options) => mutateAsync({ input, options }).catch(() => null),
    reset,
  }
}
