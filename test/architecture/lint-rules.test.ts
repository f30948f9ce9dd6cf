import { describe, expect, test } from 'vitest'
import { lint } from './lint-fixture.ts'

/** Each canary: the rule that must fire, and the smallest source that breaks it. */
const canaries: Readonly<Record<string, string>> = {
  'typescript(no-floating-promises)': `
    async function save(): Promise<void> {}
    export function run(): void { save() }`,
  'typescript(no-misused-promises)': `
    export const run = (items: string[]) => items.forEach(async (item) => { await Promise.resolve(item) })`,
  'typescript(switch-exhaustiveness-check)': `
    export function say(status: 'PENDING' | 'RUNNING'): string {
      switch (status) {
        case 'PENDING': return 'waits'
        default: return 'other'
      }
    }`,
  'typescript(no-explicit-any)': `export const parse = (value: any): string => String(value)`,
  'typescript(no-unsafe-assignment)': `export const field: { a: string } = JSON.parse('{"a":"b"}')`,
  'typescript(no-non-null-assertion)': `export const first = (items: string[]): string => items[0]!`,
  'typescript(only-throw-error)': `export function fail(): never { throw 'no' }`,
  'typescript(return-await)': `
    export async function read(load: () => Promise<string>): Promise<string> {
      try { return load() } catch { return '' }
    }`,
  'eslint(no-console)': `export const log = (text: string): void => console.log(text)`,
  'eslint(no-warning-comments)': `// TODO: later\nexport const value = 1`,
  'eslint(no-unused-vars)': `const unused = 1\nexport const value = 2`,
  'import(no-default-export)': `export default 1`,
}

const fileOf = (code: string): string => `src/tasks/${code.replaceAll(/\W+/g, '-')}x.ts`

describe('lint rules', () => {
  test('each fires on its canary', async () => {
    const files = Object.fromEntries(Object.entries(canaries).map(([code, text]) => [fileOf(code), `${text}\n`]))
    const found = await lint({ files, typeAware: true })
    const silent = Object.keys(canaries).filter(
      (code) => !found.some((finding) => finding.code === code && finding.filename === fileOf(code)),
    )
    expect(silent).toEqual([])
  })

  test('a focused test, and imports that go round in a circle, are found', async () => {
    const found = await lint({
      files: {
        'src/tasks/one.ts': `import { two } from './two.ts'\nexport const one = (): number => two()\n`,
        'src/tasks/two.ts': `import { one } from './one.ts'\nexport const two = (): number => one()\n`,
        'src/tasks/one.test.ts': `import { expect, test } from 'vitest'\ntest.only('one', () => expect(1).toBe(1))\n`,
      },
    })
    expect(found.map(({ code, filename }) => `${filename} ${code}`).toSorted()).toEqual([
      'src/tasks/one.test.ts vitest(no-focused-tests)',
      'src/tasks/one.ts import(no-cycle)',
      'src/tasks/two.ts import(no-cycle)',
    ])
  })
})
