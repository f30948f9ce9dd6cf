import { useEffect, useId, useRef, useState, type SubmitEvent, type ReactNode } from 'react'
import { SluiceProblem } from '../../src/client/index.ts'
import type { Accepted } from '../../src/contract/task.ts'
import { useSubmit, type SubmitView } from '../../src/react/index.ts'
import { hrefOf, readAddress } from './address.ts'

export interface NewProjectProps {
  readonly open: boolean
  readonly close: () => void
  readonly accepted: (accepted: Accepted) => void
}

export function NewProject({ open, close, accepted }: NewProjectProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    if (open) dialog.current?.showModal()
    else dialog.current?.close()
  }, [open])
  return (
    <dialog ref={dialog} className="dialog" aria-labelledby="new-project" onClose={close}>
      {/* Only while open, so that the next form is a new one. */}
      {open && <ProjectForm close={close} accepted={accepted} />}
    </dialog>
  )
}

const fields = [
  { name: 'name', label: 'Name', required: true, hint: 'Lower-case letters, digits and hyphens; up to 55.' },
  { name: 'organization', label: 'Organization', required: true, hint: 'Who owns the project, for instance acme.' },
  { name: 'display_name', label: 'Display name', required: false, hint: 'What people read.' },
] as const
type FieldName = (typeof fields)[number]['name']

function ProjectForm({ close, accepted }: Omit<NewProjectProps, 'open'>) {
  const submission = useSubmit('project.create')
  const [missing, setMissing] = useState<readonly FieldName[]>([])
  const form = useRef<HTMLFormElement>(null)
  const messages: Readonly<Record<string, string>> = {
    ...submission.fieldErrors,
    ...Object.fromEntries(missing.map((name) => [name, 'Please fill this in.'])),
  }
  const refused = fields.find(({ name }) => messages[name] !== undefined)?.name
  useEffect(() => {
    // After a refusal the reader stands at the first field to mend.
    if (refused !== undefined) form.current?.querySelector<HTMLInputElement>(`[name="${refused}"]`)?.focus()
  }, [refused, submission.error, missing])

  const send = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault()
    if (submission.state === 'sending') return
    const data = new FormData(event.currentTarget)
    const given = fields.map(({ name }) => [name, textOf(data.get(name))] as const)
    const absent = fields.filter(
      ({ name, required }) => required && given.some(([n, value]) => n === name && value === ''),
    )
    setMissing(absent.map(({ name }) => name))
    if (absent.length > 0) return submission.reset()
    const answer = await submission.submit(Object.fromEntries(given.filter(([, value]) => value !== '')))
    if (answer !== null) accepted(answer)
  }
  return (
    <form ref={form} noValidate onSubmit={(event) => void send(event)}>
      <h2 id="new-project">New project</h2>
      <Refusal submission={submission} />
      {fields.map(({ name, label, required, hint }) => (
        <Field key={name} name={name} label={label} required={required} hint={hint} message={messages[name]} />
      ))}
      <div className="dialog-actions">
        <button type="button" onClick={close}>
          Not now
        </button>
        <button type="submit" className="primary" aria-disabled={submission.state === 'sending'}>
          {submission.state === 'sending' ? 'Asking…' : 'Create project'}
        </button>
      </div>
    </form>
  )
}

/** A text field's value; a file, which no field here is, would be none. */
function textOf(value: FormDataEntryValue | null): string {
  return typeof value === 'string' ? value.trim() : ''
}

interface FieldProps {
  readonly name: string
  readonly label: string
  readonly required: boolean
  readonly hint: string
  readonly message: string | undefined
}

function Field({ name, label, required, hint, message }: FieldProps) {
  const id = useId()
  return (
    <div className="field" data-refused={message !== undefined}>
      <label htmlFor={id}>
        {label}
        {!required && <span className="field-optional">optional</span>}
      </label>
      <input
        id={id}
        name={name}
        type="text"
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        required={required}
        aria-invalid={message !== undefined}
        aria-describedby={`${id}-hint`}
      />
      <p id={`${id}-hint`} className={message === undefined ? 'field-hint' : 'field-error'}>
        {message ?? hint}
      </p>
    </div>
  )
}

/** What was refused as a whole; what belongs to a field stands at the field. */
function Refusal({ submission }: { readonly submission: SubmitView }): ReactNode {
  const { error } = submission
  if (error === null || fields.some(({ name }) => submission.fieldErrors[name] !== undefined)) return null
  const inTheWay = error instanceof SluiceProblem ? error.problem.task?.split('/').at(-1) : undefined
  return (
    <div className="notice" role="alert">
      <p>{error.message}</p>
      {inTheWay !== undefined && (
        <p>
          <a href={hrefOf({ ...readAddress(location.search), task: inTheWay })}>Open the task in the way</a>
        </p>
      )}
    </div>
  )
}
