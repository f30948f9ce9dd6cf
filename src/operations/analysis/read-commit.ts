import { PermanentError } from '../errors.ts'
import { nameLanguage } from './languages.ts'
import { OutputTooLongError, runGit } from './run-git.ts'

/** What is found in one commit: the same each time. */
export interface CommitFindings {
  readonly files: number
  /** Of all files, as they are checked out. */
  readonly bytes: number
  /** Of text files up to 8 MiB. */
  readonly lines: number
  /** Binary files, and those above 8 MiB: their lines are not counted. */
  readonly uncounted_files: number
  readonly symlinks: number
  readonly submodules: number
  /** Most lines first. */
  readonly languages: readonly LanguageCount[]
  readonly authored_at: string
  readonly committed_at: string
  readonly subject: string
  /** Author, committer and co-authors, each once. */
  readonly contributors: readonly string[]
}

export interface LanguageCount {
  readonly language: string
  readonly files: number
  readonly lines: number
  readonly bytes: number
}

export interface CommitToRead {
  readonly repository: string
  readonly commit: string
  /** A bare repository that has it. */
  readonly folder: string
  readonly signal: AbortSignal
}

const maxListBytes = 32 * 1_048_576
/** Unpacked. A few megabytes can be packed from this much, and all of it is read. */
const maxContentBytes = 2 * 1_073_741_824
/** Git knows this tree without having it: compared with it, every line of a commit is new. */
const emptyTree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904'

/** Counts without writing a single file of it. @throws PermanentError `repository_too_large` */
export async function readCommit(read: CommitToRead): Promise<CommitFindings> {
  try {
    const { files, symlinks, submodules } = await listFiles(read)
    const bytes = [...files.values()].reduce((sum, size) => sum + size, 0)
    if (bytes > maxContentBytes) throw tooLarge(read)
    const lines = await countLines(read)
    const languages = byLanguage(files, lines)
    return {
      files: files.size,
      bytes,
      lines: languages.reduce((sum, one) => sum + one.lines, 0),
      uncounted_files: [...files.keys()].filter((path) => !lines.has(path)).length,
      symlinks,
      submodules,
      languages,
      ...(await describe(read)),
    }
  } catch (error) {
    throw error instanceof OutputTooLongError ? tooLarge(read) : error
  }
}

function tooLarge({ repository, commit }: CommitToRead): PermanentError {
  const message = `Commit ${commit} of ${repository} has too many files, or more than 2 GiB in them.`
  return new PermanentError(message, { code: 'repository_too_large' })
}

/** Regular files with their size; what git stores beside them is counted only. */
async function listFiles({ commit, folder, signal }: CommitToRead) {
  const listed = await runGit(['ls-tree', '-r', '-l', '-z', '--full-tree', commit], {
    folder,
    signal,
    maxOutputBytes: maxListBytes,
  })
  const files = new Map<string, number>()
  let symlinks = 0
  let submodules = 0
  for (const record of listed.split('\0')) {
    // 100644 blob 8ab6…   1234<tab>src/index.ts
    const [, mode, size, path] = /^(\d+) \w+ [0-9a-f]+ +(\d+|-)\t(.+)$/s.exec(record) ?? []
    if (path === undefined) continue
    if (mode === '120000') symlinks++
    else if (mode === '160000') submodules++
    else files.set(path, Number(size))
  }
  return { files, symlinks, submodules }
}

/** Lines of each text file. */
async function countLines({ commit, folder, signal }: CommitToRead): Promise<Map<string, number>> {
  const options = ['-r', '--numstat', '-z', '--no-renames', '--no-ext-diff', '--no-textconv']
  const counted = await runGit(['diff-tree', ...options, emptyTree, commit], {
    folder,
    signal,
    maxOutputBytes: maxListBytes,
  })
  const lines = new Map<string, number>()
  for (const record of counted.split('\0')) {
    // 120<tab>0<tab>src/index.ts, or -<tab>-<tab>logo.png
    const [, added, path] = /^(\d+)\t\d+\t(.+)$/s.exec(record) ?? []
    if (path !== undefined) lines.set(path, Number(added))
  }
  return lines
}

function byLanguage(files: ReadonlyMap<string, number>, lines: ReadonlyMap<string, number>): LanguageCount[] {
  const counts = new Map<string, LanguageCount>()
  for (const [path, bytes] of files) {
    const counted = lines.get(path)
    if (counted === undefined) continue
    const language = nameLanguage(path)
    const before = counts.get(language) ?? { language, files: 0, lines: 0, bytes: 0 }
    counts.set(language, {
      language,
      files: before.files + 1,
      lines: before.lines + counted,
      bytes: before.bytes + bytes,
    })
  }
  return [...counts.values()].toSorted((a, b) => b.lines - a.lines || (a.language < b.language ? -1 : 1))
}

const format = ['%aI', '%cI', '%s', '%an', '%cn', '%(trailers:key=Co-authored-by,valueonly,unfold,separator=%x00)']

async function describe({ commit, folder, signal }: CommitToRead) {
  const shown = await runGit(['show', '--no-patch', '--no-show-signature', `--format=${format.join('%x00')}`, commit], {
    folder,
    signal,
    maxOutputBytes: 1_048_576,
  })
  const [authored = '', committed = '', subject = '', ...people] = shown.split('\0').map(plain)
  // Names only: addresses are nobody's business here.
  const names = people.map((person) => person.replace(/\s*<[^>]*>?\s*$/, '')).filter((name) => name !== '')
  return {
    authored_at: utc(authored),
    committed_at: utc(committed),
    subject: subject.slice(0, 500),
    contributors: [...new Set(names)].slice(0, 100),
  }
}

// oxlint-disable-next-line no-control-regex -- that is what is taken out
const plain = (text: string): string => text.replace(/[\u0000-\u001f\u007f]/g, ' ').trim()

/** A date that nobody can read is not worth a failure: commits may claim any. */
function utc(text: string): string {
  const at = new Date(text)
  return Number.isNaN(at.getTime()) ? text : at.toISOString()
}
