import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Finding {
  /** Such as `eslint(no-restricted-imports)`. */
  readonly code: string
  readonly filename: string
  readonly line: number
}

export interface Fixture {
  /** Sources by path, as `src/tasks/x.ts`. */
  readonly files?: Readonly<Record<string, string>>
  /** Folders of the repository to copy in. */
  readonly copy?: readonly string[]
  /** Whether rules that need types run too. @default false */
  readonly typeAware?: boolean
}

/** Runs the linter with the repository's own configuration over a tree made for the purpose. */
export async function lint({ files = {}, copy = [], typeAware = false }: Fixture): Promise<Finding[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-lint-'))
  try {
    // Rules and overrides are passed on as they are.
    const config = JSON.parse(await readFile(join(root, '.oxlintrc.json'), 'utf8')) as Record<string, object>
    await writeFile(
      join(folder, '.oxlintrc.json'),
      JSON.stringify({ ...config, options: { ...config['options'], typeAware } }),
    )
    await cp(join(root, 'tsconfig.base.json'), join(folder, 'tsconfig.base.json'))
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: './tsconfig.base.json',
        compilerOptions: { types: [], noEmit: true, allowImportingTsExtensions: true },
      }),
    )
    for (const path of copy) await cp(join(root, path), join(folder, path), { recursive: true })
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true })
      await writeFile(join(folder, path), text)
    }
    return await runLinter(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function runLinter(folder: string): Promise<Finding[]> {
  const linter = join(root, 'node_modules/oxlint/bin/oxlint')
  const run = promisify(execFile)(process.execPath, [linter, '--format', 'json'], {
    cwd: folder,
    env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}` },
    maxBuffer: 64 * 1024 * 1024,
  })
  // It fails when it finds something, and says what on the same stream.
  const { stdout } = await run.catch((error: { stdout: string }) => error)
  // The linter's own format; a change of it fails every test here.
  const report = JSON.parse(stdout) as Report
  if (report.number_of_files === 0) throw new Error('the linter found no file to check')
  return report.diagnostics.map(({ code, filename, labels }) => ({ code, filename, line: labels[0]?.span.line ?? 0 }))
}

interface Report {
  readonly number_of_files: number
  readonly diagnostics: readonly {
    readonly code: string
    readonly filename: string
    readonly labels: readonly { readonly span: { readonly line: number } }[]
  }[]
}
