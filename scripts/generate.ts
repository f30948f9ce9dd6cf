/**
 * Writes what is derived from the sources and committed all the same, so that it can be read without running anything.
 *
 * `node scripts/generate.ts` writes; with `--check` it writes nothing and fails where a committed copy differs.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { format } from 'prettier'
import { kubernetesTypes } from './generate-kubernetes-types.ts'
import { openApiDocument } from './openapi-document.ts'
import { taskStatesPage } from './task-states-page.ts'

/** Path from the root of the repository, and what makes its content. */
const generated: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/openapi.json': openApiDocument,
  'docs/task-states.md': async () => format(taskStatesPage(), { parser: 'markdown', printWidth: 120 }),
  'src/kubernetes/simulated/kinds/kubernetes-types.json': kubernetesTypes,
}

const check = process.argv.includes('--check')
const unknown = process.argv.slice(2).filter((argument) => argument !== '--check')
if (unknown.length > 0) {
  console.error(`generate: unknown argument ${unknown.join(' ')}; it takes --check or nothing.`)
  process.exit(2)
}

const stale: string[] = []
for (const [path, make] of Object.entries(generated)) {
  const file = fileURLToPath(new URL(`../${path}`, import.meta.url))
  const text = await make()
  const committed = await readFile(file, 'utf8').catch(() => undefined)
  if (committed === text) continue
  stale.push(path)
  if (check) console.error(`${path}: ${committed === undefined ? 'is missing' : firstDifference(committed, text)}`)
  else await writeFile(file, text)
}

if (check && stale.length > 0) {
  console.error(`Not what the sources say. Run "npm run generate" and commit what it writes.`)
  process.exitCode = 1
} else if (stale.length > 0) console.log(`Written: ${stale.join(', ')}`)

function firstDifference(committed: string, made: string): string {
  const before = committed.split('\n')
  const now = made.split('\n')
  const line = now.findIndex((text, i) => text !== before[i])
  const at = line < 0 ? now.length : line
  return `line ${at + 1} says ${JSON.stringify(before[at] ?? '')} and should say ${JSON.stringify(now[at] ?? '')}`
}
