/**
 * Checks what the linter's import rules cannot say: who may write SQL, open a transaction, insert a job or touch the
 * engine's tables. Reads the sources' syntax trees and the migrations; runs nothing.
 *
 * `node scripts/check-architecture.ts` lists every violation and fails when there is one.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ESTree, parseSync, Visitor } from 'vite'

export type ArchitectureRule =
  | 'one-pool'
  | 'one-database'
  | 'engine-on-our-pool'
  | 'one-engine'
  | 'sql-in-query-files'
  | 'no-skip-locked'
  | 'engine-writes-its-tables'
  | 'engine-read-by-queue'
  | 'transactions-in-use-cases'
  | 'jobs-in-use-cases'
  | 'no-import-types-across-files'
  | 'no-export-all'

export interface Violation {
  readonly rule: ArchitectureRule
  /** Path below the checked folder, with `/`. */
  readonly file: string
  readonly line: number
  readonly message: string
}

interface RuleText {
  /** Where the thing belongs; elsewhere it is a violation. A folder ends with `/`, a suffix begins with `*`. */
  readonly homes: readonly string[]
  readonly message: string
}

const useCases = ['src/tasks/', 'src/worker/', 'src/approvals/', 'src/notifications/', 'src/identity/', 'src/audit/']

const rules = {
  'one-pool': {
    homes: ['src/database/'],
    message: 'Only src/database makes a pool: take the Database, or its pool, as a parameter.',
  },
  'one-database': {
    homes: ['src/database/', 'src/main.ts', 'src/platform/adapters/postgres/', 'src/worker/doctor/', 'src/cli/'],
    message: 'A process has one Database, which src/main.ts makes: take it as a parameter. (A command of its own may.)',
  },
  'engine-on-our-pool': {
    homes: [],
    message: 'An engine without `db` opens a pool of its own: give it ours.',
  },
  'one-engine': {
    homes: ['src/queue/', 'src/platform/adapters/pg-boss/'],
    message: 'Only src/queue and the pg-boss adapter know the engine: use the port in src/queue/queue.ts.',
  },
  'sql-in-query-files': {
    homes: ['src/database/', '*.sql.ts'],
    message: 'Move the statement to a .sql.ts file beside its use, one exported function for each.',
  },
  'no-skip-locked': {
    homes: [],
    message: 'SKIP LOCKED is how queues are home-made: the engine claims jobs, nobody else does.',
  },
  'engine-writes-its-tables': {
    homes: [],
    message: "Only the engine writes the engine's tables: call it with the transaction (src/queue/queue.ts).",
  },
  'engine-read-by-queue': {
    homes: ['src/queue/'],
    message: "Only src/queue reads the engine's tables.",
  },
  'transactions-in-use-cases': {
    homes: [...useCases, 'src/database/', 'src/platform/'],
    message:
      'A transaction is opened by a use case (tasks, worker, approvals, notifications, identity, audit): take its `tx`.',
  },
  'jobs-in-use-cases': {
    homes: ['src/tasks/', 'src/worker/', 'src/notifications/', 'src/platform/adapters/', 'src/queue/'],
    message: 'Jobs are inserted by tasks, worker, notifications and the PubSub adapter.',
  },
  'no-import-types-across-files': {
    homes: [],
    message: 'Write `import type` instead: the import rules do not see import() in a type.',
  },
  'no-export-all': {
    homes: [],
    message: 'Name what is exported.',
  },
} as const satisfies Record<ArchitectureRule, RuleText>

const keywords = [
  String.raw`select\b[^;]*\bfrom\b`,
  String.raw`select\s+[\w.]+\(`,
  String.raw`with\s+(recursive\s+)?\w+\s+as\b`,
  String.raw`insert\s+into\b`,
  String.raw`update\s+\S+\s+set\b`,
  String.raw`(delete\s+from|merge\s+into|truncate|vacuum|listen|notify)\s+\S`,
  String.raw`(create|alter|drop)\s+(or\s+replace\s+|unique\s+|unlogged\s+)?(table|index|schema|database|role|function|type|view|sequence|trigger|extension)\b`,
  String.raw`grant\s+[\w, ]+\s+(on|to)\b`,
].join('|')
// All lower or all upper case: a sentence for people begins with one capital.
const statement = new RegExp(
  `^\\s*(${keywords}|${keywords.replaceAll(/(?<!\\)[a-z]/g, (letter) => letter.toUpperCase())})`,
)
const begin = /^\s*(begin(\s*;|\s+(isolation|transaction|work|read)\b|\s*$)|start\s+transaction\b)/i
const skipLocked = /\bskip\s+locked\b/i
const engineTable = String.raw`"?(pgboss|\$\{engineSchema\})"?\s*\.`
const engineWrite = new RegExp(
  String.raw`\b(insert\s+into|update|delete\s+from|merge\s+into|copy|truncate(\s+table)?)\s+(only\s+)?${engineTable}`,
  'i',
)
const engineRead = new RegExp(String.raw`\b(from|join)\s+(only\s+)?${engineTable}`, 'i')
const builderWrites = new Set(['insertInto', 'updateTable', 'deleteFrom', 'mergeInto'])
const builderReads = new Set(['selectFrom', 'innerJoin', 'leftJoin', 'rightJoin', 'fullJoin', 'using'])
const ofEngine = new RegExp(`^${engineTable}`)
const pools = new Set(['pg', 'pg-pool', 'pg-native', 'postgres'])
const transactions = new Set(['transaction', 'startTransaction', 'withTx'])

/** Checks one source or migration; `file` is its path from the root of the repository. */
export function checkFile(file: string, text: string): Violation[] {
  const found: Violation[] = []
  const report = (rule: ArchitectureRule, offset: number): void => {
    const { homes, message } = rules[rule]
    if (!homes.some((home) => isHome(home, file))) {
      found.push({ rule, file, line: text.slice(0, offset).split('\n').length, message })
    }
  }
  if (file.endsWith('.sql')) {
    checkSql(text, 0, report)
    return found
  }
  const { program, errors } = parseSync(file, text)
  if (errors[0]) throw new Error(`${file} cannot be parsed: ${errors[0].message}`)
  visitorFor(report).visit(program)
  return found.toSorted((a, b) => a.line - b.line)
}

function isHome(home: string, file: string): boolean {
  return home.startsWith('*') ? file.endsWith(home.slice(1)) : file.startsWith(home)
}

type Report = (rule: ArchitectureRule, offset: number) => void

function visitorFor(report: Report): Visitor {
  return new Visitor({
    ImportDeclaration: (node) => checkImport(node, report),
    ImportExpression: (node) => {
      if (node.source.type !== 'Literal') return
      if (node.source.value === 'pg-boss') report('one-engine', node.start)
      if (pools.has(String(node.source.value))) report('one-pool', node.start)
    },
    NewExpression: (node) => checkNew(node, report),
    TSImportType: (node) => {
      if (node.source.value.startsWith('.')) report('no-import-types-across-files', node.start)
    },
    ExportAllDeclaration: (node) => report('no-export-all', node.start),
    CallExpression: (node) => checkCall(node, report),
    Literal: (node) => {
      if (typeof node.value === 'string') checkSql(node.value, node.start, report)
    },
    TemplateLiteral: (node) => checkSql(templateText(node), node.start, report),
  })
}

function checkImport(node: ESTree.ImportDeclaration, report: Report): void {
  const from = node.source.value
  if (from === 'pg-boss') report('one-engine', node.start)
  if (node.importKind === 'type') return
  for (const one of node.specifiers) {
    if (one.type === 'ImportSpecifier' && one.importKind === 'type') continue
    // The default and the namespace hold everything.
    const name = one.type === 'ImportSpecifier' ? nameOf(one.imported) : '*'
    if (pools.has(from) && (from !== 'pg' || name === 'Pool' || name === '*')) report('one-pool', one.start)
    if (from === 'kysely' && (name === 'sql' || name === '*')) report('sql-in-query-files', one.start)
  }
}

function checkCall(node: ESTree.CallExpression, report: Report): void {
  const { callee } = node
  const method = nameOf(callee) ?? ''
  if (transactions.has(method)) report('transactions-in-use-cases', node.start)
  if (method === 'createDatabase') report('one-database', node.start)
  if (callee.type !== 'MemberExpression') return
  if (method === 'selectFrom' || builderWrites.has(method)) report('sql-in-query-files', node.start)
  if (method === 'insert' && nameOf(callee.object) === 'queue') report('jobs-in-use-cases', node.start)
  if (method === 'withSchema' && /^(pgboss|\$\{engineSchema\})$/.test(textOf(node.arguments[0])))
    report('engine-writes-its-tables', node.start)
  if (!ofEngine.test(textOf(node.arguments[0]))) return
  if (builderWrites.has(method)) report('engine-writes-its-tables', node.start)
  if (builderReads.has(method)) report('engine-read-by-queue', node.start)
}

function checkNew(node: ESTree.NewExpression, report: Report): void {
  if (nameOf(node.callee) !== 'PgBoss') return
  const [options] = node.arguments
  const given = options?.type === 'ObjectExpression' ? options.properties : []
  if (!given.some((one) => one.type === 'Property' && nameOf(one.key) === 'db'))
    report('engine-on-our-pool', node.start)
}

function checkSql(sql: string, offset: number, report: Report): void {
  if (statement.test(sql)) report('sql-in-query-files', offset)
  if (begin.test(sql)) report('transactions-in-use-cases', offset)
  if (skipLocked.test(sql)) report('no-skip-locked', offset + Math.max(0, sql.search(skipLocked)))
  if (engineWrite.test(sql)) report('engine-writes-its-tables', offset)
  if (engineRead.test(sql)) report('engine-read-by-queue', offset)
}

/** `pool` of `pool`, `options.pool` and `this.#pool`. */
function nameOf(node: ESTree.Node): string | undefined {
  if (node.type === 'Identifier' || node.type === 'PrivateIdentifier') return node.name
  return node.type === 'MemberExpression' ? nameOf(node.property) : undefined
}

/** What a string or template says; empty for everything else. */
function textOf(node: ESTree.Node | undefined): string {
  if (node?.type === 'TemplateLiteral') return templateText(node)
  if (node?.type === 'Identifier') return `\${${node.name}}`
  return node?.type === 'Literal' && typeof node.value === 'string' ? node.value : ''
}

/** The text with its holes: `select 1 from ${table}`. */
function templateText(node: ESTree.TemplateLiteral): string {
  return node.quasis
    .map(({ value }, i) => {
      const hole = node.expressions[i]
      return hole ? `${value.raw}\${${nameOf(hole) ?? '…'}}` : value.raw
    })
    .join('')
}

// Tests and the conformance suites speak SQL to look at what became of it.
const isChecked = (file: string): boolean =>
  /\.(ts|tsx|sql)$/.test(file) && !/\.(test|d)\.tsx?$/.test(file) && !file.startsWith('src/testing/')

/** Checks src/ and web/ below a folder. */
export async function checkTree(root: string): Promise<Violation[]> {
  const files: string[] = []
  for (const folder of ['src', 'web']) {
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true })
    for (const entry of entries) {
      const file = relative(root, join(entry.parentPath, entry.name)).split(sep).join('/')
      if (entry.isFile() && isChecked(file)) files.push(file)
    }
  }
  const found = await Promise.all(
    files.toSorted().map(async (file) => checkFile(file, await readFile(join(root, file), 'utf8'))),
  )
  return found.flat()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const violations = await checkTree(fileURLToPath(new URL('..', import.meta.url)))
  for (const { file, line, rule, message } of violations) console.error(`${file}:${line}: ${rule}: ${message}`)
  if (violations.length > 0) process.exitCode = 1
}
