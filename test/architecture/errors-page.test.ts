import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { problemKinds } from '../../src/http/problems.ts'
import { root } from './lint-fixture.ts'

type Row = readonly string[]

/** The rows of every table between a heading and the next one of its level or above. */
function tablesBelow(page: string, heading: string): Row[] {
  const level = heading.indexOf(' ')
  const lines = page.split('\n')
  const start = lines.indexOf(heading)
  if (start < 0) throw new Error(`docs/errors.md has no heading "${heading}"`)
  const length = lines.slice(start + 1).findIndex((line) => /^#+ /.test(line) && line.indexOf(' ') <= level)
  return lines
    .slice(start + 1, length < 0 ? undefined : start + 1 + length)
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    )
}

/** Every literal `code` in the sources that match. */
async function codesIn(...patterns: readonly string[]): Promise<Set<string>> {
  const codes = new Set<string>()
  for await (const path of glob(patterns, { cwd: root, exclude: (name) => name.endsWith('.test.ts') })) {
    const text = await readFile(join(root, path), 'utf8')
    for (const [, code = ''] of text.matchAll(/\bcode(?:: | = )'([a-z_]+)'(?! in)/g)) codes.add(code)
  }
  return codes
}

/** What closes a task together with its ticket. */
async function closingCodes(): Promise<string[]> {
  const text = await readFile(join(root, 'src/tasks/decide-ticket.ts'), 'utf8')
  const union = /\bproblem\(code: ([^,]+),/.exec(text)?.[1]
  if (union === undefined) throw new Error('src/tasks/decide-ticket.ts has no function problem(code: …) any more')
  return [...union.matchAll(/'([a-z_]+)'/g)].map(([, code = '']) => code)
}

describe('docs/errors.md lists every code', async () => {
  const page = await readFile(join(root, 'docs/errors.md'), 'utf8')

  test('the HTTP registry and the page are equal, both ways', () => {
    const rows = tablesBelow(page, '## Answers of the HTTP API')
    const listed = rows.map(([code = '', status, retryable, title]) => [
      code,
      { status: Number(status), retryable: retryable === 'yes', title },
    ])
    expect(Object.fromEntries(listed)).toEqual(problemKinds)
    expect(listed).toHaveLength(Object.keys(problemKinds).length)
  })

  test('every code that can stand inside a task is on the page, and no other', async () => {
    const thrown = await codesIn(
      'src/operations/**/*.ts',
      'src/worker/!(*.test).ts',
      'src/tasks/cancel-task.ts',
      'src/kubernetes/cluster-errors.ts',
      'src/kubernetes/readiness.ts',
    )
    thrown.add('operation_error')
    for (const code of await closingCodes()) thrown.add(code)
    // The reason of an attempt's signal: the worker turns it into one of the others.
    thrown.delete('aborted')
    const listed = tablesBelow(page, '## Errors inside a task').map(([code]) => code)
    expect(new Set(listed)).toEqual(thrown)
    expect(listed).toHaveLength(thrown.size)
  })

  test('every refusal of a live connection is on the page, and no other', async () => {
    const text = await readFile(join(root, 'src/http/routes/live.ts'), 'utf8')
    const refused = new Set([...text.matchAll(/\brefuse\([\w]+, '([a-z_]+)'/g)].map(([, code]) => code))
    const listed = tablesBelow(page, '## Errors of a live connection').map(([code]) => code)
    expect(new Set(listed)).toEqual(refused)
  })
})
