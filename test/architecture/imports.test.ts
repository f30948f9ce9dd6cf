import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { lint, root } from './lint-fixture.ts'

/** A folder imports only what stands before it. */
const order = [
  'contract',
  'platform',
  'metrics',
  'database',
  'queue',
  'kubernetes',
  'operations',
  'identity',
  'approvals',
  'notifications',
  'audit',
  'tasks',
  'worker',
  'live',
  'http',
  'client',
  'react',
  'cli',
  'testing',
] as const
type Folder = (typeof order)[number]

/** Where the order alone does not say it. */
const exceptions: Partial<Record<Folder, readonly Folder[]>> = {
  // HTTP and the workers are separate processes.
  http: order.slice(0, order.indexOf('http')).filter((folder) => folder !== 'worker'),
  // What runs in a browser sees what travels, and nothing of the server.
  client: ['contract'],
  react: ['contract', 'client'],
  // The user's test kit may use anything.
  testing: order,
}

const mayImport = (from: Folder, to: Folder): boolean =>
  from === to || (exceptions[from] ?? order.slice(0, order.indexOf(from))).includes(to)

const imports = (specifier: string): string =>
  `import { target } from '${specifier}'\nexport const used: number = target\n`

/** Lints one file per import and returns those that the import rules refuse. */
async function refusedOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const found = await lint({ files })
  return found
    .filter(({ code }) => code === 'eslint(no-restricted-imports)')
    .map(({ filename }) => filename)
    .toSorted()
}

describe('folders, and who may import whom', () => {
  test('every pair of folders is allowed or refused as the table says', async () => {
    const pairs = order.flatMap((from) => order.map((to) => ({ from, to, file: `src/${from}/imports-${to}.ts` })))
    const refused = await refusedOf(Object.fromEntries(pairs.map(({ file, to }) => [file, imports(`../${to}/x.ts`)])))
    const expected = pairs.filter(({ from, to }) => !mayImport(from, to)).map(({ file }) => file)
    expect(refused).toEqual(expected.toSorted())
  })

  test.each([
    ['a type', `import type { Target } from '../worker/x.ts'\nexport type Used = Target\n`],
    ['a re-export', `export { target } from '../worker/x.ts'\n`],
    ['a dynamic import', `export const load = () => import('../worker/x.ts')\n`],
    ['an import from a nested folder', undefined],
  ])('%s counts as an import', async (_what, text) => {
    const file = text === undefined ? 'src/tasks/deep/down/x.ts' : 'src/tasks/x.ts'
    expect(await refusedOf({ [file]: text ?? imports('../../../worker/x.ts') })).toEqual([file])
  })

  // Each line: a file, what it imports, and whether it may.
  const special: readonly (readonly [string, string, boolean])[] = [
    ['src/cli/start.ts', '../main.ts', true],
    ['src/cli/other.ts', '../main.ts', false],
    ['src/http/app.ts', '../main.ts', false],
    ['src/tasks/x.ts', '../index.ts', false],
    ['src/main.ts', './http/app.ts', true],
    ['src/main.ts', './worker/worker.ts', true],
    ['src/main.ts', './cli/start.ts', false],
    ['src/main.ts', './testing/x.ts', false],
    ['src/index.ts', './main.ts', true],
    ['src/index.ts', './testing/x.ts', false],
    ['src/platform/create-platform.ts', './adapters/redis/x.ts', true],
    ['src/platform/index.ts', './adapters/redis/x.ts', false],
    ['src/platform/memory/x.ts', '../adapters/redis/x.ts', false],
    ['src/platform/adapters/redis/x.ts', '../../../database/database.ts', true],
    ['src/platform/adapters/redis/x.ts', '../../../queue/queue.ts', true],
    ['src/platform/adapters/redis/x.ts', '../../db.ts', true],
    ['src/platform/adapters/redis/x.ts', '../s3/x.ts', true],
    ['src/platform/adapters/redis/x.ts', '../../../tasks/x.ts', false],
    ['src/cli/start.ts', '../platform/adapters/pino/pino-logger.ts', false],
    ['src/main.ts', './platform/adapters/pino/pino-logger.ts', false],
    ['src/worker/x.ts', '../platform/adapters/redis/x.ts', false],
    ['src/audit/x.ts', '../platform/adapters/redis/x.ts', false],
    ['src/main.ts', './platform/create-platform.ts', true],
    ['src/client/x.ts', '../kubernetes/wait-for-watch.ts', true],
    ['src/client/x.ts', '../kubernetes/readiness.ts', true],
    ['src/client/x.ts', '../kubernetes/wait-for-ready.ts', true],
    ['src/client/x.ts', '../kubernetes/cluster.ts', false],
    ['src/client/deep/x.ts', '../../kubernetes/watch-hub.ts', false],
    ['src/client/x.ts', 'node:fs', false],
    ['src/react/x.ts', 'node:events', false],
    ['src/contract/x.ts', 'node:crypto', false],
    ['src/react/x.ts', '../kubernetes/readiness.ts', false],
    ['src/kubernetes/readiness.ts', './readiness-rules.ts', true],
    ['src/kubernetes/readiness.ts', './cluster.ts', false],
    ['src/kubernetes/readiness.ts', '../contract/x.ts', true],
    ['src/kubernetes/readiness-rules.ts', '../platform/clock.ts', false],
    ['src/kubernetes/wait-for-watch.ts', './clock.ts', true],
    ['src/kubernetes/wait-for-watch.ts', '../queue/queue.ts', false],
    ['src/kubernetes/wait-for-watch.ts', 'node:events', false],
    ['src/kubernetes/cluster.ts', './watch-hub.ts', true],
    ['src/tasks/x.ts', '../../test/helpers/until.ts', false],
    ['src/tasks/x.ts', '../../web/main.ts', false],
    ['src/tasks/x.ts', 'sluice/platform', false],
    ['src/tasks/x.test.ts', '../worker/x.ts', true],
    ['src/tasks/x.test.ts', '../../test/helpers/until.ts', true],
    ['web/console/x.ts', '../../src/contract/task.ts', true],
    ['web/console/x.ts', '../../src/client/index.ts', true],
    ['web/console/x.ts', '../../src/react/index.ts', true],
    ['web/console/x.ts', '../../src/http/app.ts', false],
    ['web/console/x.ts', '../../src/kubernetes/readiness.ts', false],
    ['web/console/x.ts', '../../src/main.ts', false],
    ['web/console/x.ts', 'node:path', false],
  ]
  test('the exceptions hold for exactly the files that they name', async () => {
    const byFile = Map.groupBy(special, ([file]) => file)
    const files = [...byFile].map(([file, lines]) => {
      const text = lines.map(([, specifier], i) => `import { target as target${i} } from '${specifier}'`).join('\n')
      return [file, text] as const
    })
    const found = await lint({ files: Object.fromEntries(files) })
    const refused = found
      .filter(({ code }) => code === 'eslint(no-restricted-imports)')
      .map(({ filename, line }) => `${filename} → ${byFile.get(filename)?.[line - 1]?.[1] ?? '?'}`)
    const expected = special.filter(([, , allowed]) => !allowed).map(([file, specifier]) => `${file} → ${specifier}`)
    expect(refused.toSorted()).toEqual(expected.toSorted())
  })

  // The rules read `../worker/x.ts` as the folder src/worker: a namesake further down would be taken for it.
  test('no folder below has the name of one at the top', async () => {
    const folders = await readdir(join(root, 'src'), { recursive: true, withFileTypes: true })
    const nested = folders.filter((entry) => entry.isDirectory() && entry.parentPath !== join(root, 'src'))
    expect(nested.map(({ name }) => name).filter((name) => order.some((folder) => folder === name))).toEqual([])
  })

  test('the sources keep to it, and no import goes round in a circle', async () => {
    const found = await lint({ copy: ['src', 'web'] })
    expect(found.filter(({ code }) => /no-restricted-imports|no-cycle/.test(code))).toEqual([])
  })
})
