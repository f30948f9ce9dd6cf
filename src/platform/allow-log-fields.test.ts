import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseSync, Visitor } from 'vite'
import { expect, test } from 'vitest'
import { allowedLogFields, allowLogFields } from './allow-log-fields.ts'
import { createMemoryLogger } from './memory/memory-logger.ts'

const secret = 'hunter2-very-secret'

test('what is not on the list is not written, whatever it is called; numbers and truth values are', () => {
  const memory = createMemoryLogger()
  const logger = allowLogFields(memory)
  const failed = Object.assign(new Error('it failed', { cause: new Error('why') }), {
    code: 'E42',
    detail: `Failing row contains (${secret})`,
    parameters: [secret],
  })
  logger
    .child({ taskId: 'task_1', note: secret })
    .info('done', { input: { a: secret }, comment: secret, count: 3, ok: true, work: { a: secret } })
  logger.error('failed', { error: failed, headers: [secret] })
  expect(JSON.stringify(memory.lines)).not.toContain(secret)
  expect(memory.lines[0]?.fields).toEqual({
    taskId: 'task_1',
    note: '[not on the list]',
    input: '[not on the list]',
    comment: '[not on the list]',
    count: 3,
    ok: true,
    work: '[not on the list]',
  })
  expect(memory.lines[1]?.fields['error']).toMatchObject({
    type: 'Error',
    message: 'it failed',
    code: 'E42',
    stack: expect.stringContaining('it failed'),
    cause: { message: 'why' },
  })
})

test('every field that the sources write is on the list, or a number', async () => {
  const numbers = ['attempt', 'bytes', 'count', 'durationMs', 'status', 'repeated']
  // The name of one, and masked for its own.
  const masked = ['secret']
  // The test kit writes what a logger must cope with.
  const root = fileURLToPath(new URL('..', import.meta.url))
  const files = (await readdir(root, { recursive: true })).filter(
    (file) => /(?<!test)\.ts$/.test(file) && !file.startsWith('testing'),
  )
  const written = new Set<string>()
  for (const file of files)
    for (const name of fieldsOf(file, await readFile(join(root, file), 'utf8'))) written.add(name)
  expect(written.size).toBeGreaterThan(20)
  expect([...written].filter((name) => ![...allowedLogFields, ...numbers, ...masked].includes(name))).toEqual([])
})

/** The names in the object literals of calls like `logger.warn('…', { name })`. */
function fieldsOf(file: string, text: string): string[] {
  const found: string[] = []
  new Visitor({
    CallExpression: ({ callee, arguments: given }) => {
      if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return
      const { object } = callee
      const on = object.type === 'MemberExpression' ? object.property : object
      if (on.type !== 'Identifier' || !['logger', 'log'].includes(on.name)) return
      if (!['debug', 'info', 'warn', 'error'].includes(callee.property.name)) return
      const fields = given[1]
      if (fields?.type !== 'ObjectExpression') return
      for (const one of fields.properties)
        if (one.type === 'Property' && one.key.type === 'Identifier') found.push(one.key.name)
    },
  }).visit(parseSync(file, text).program)
  return found
}
