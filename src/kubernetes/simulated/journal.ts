import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { isKubernetesObject, type KubernetesObject } from './kubernetes-object.ts'

/** One line of the journal: what an object is since a version, or that it is gone. */
export interface JournalEntry {
  readonly version: number
  readonly resource: string
  readonly key: string
  readonly object: KubernetesObject | undefined
}

/** The folder holds something that is not ours, or that was cut in the middle. */
export class DamagedJournalError extends Error {
  readonly code = 'damaged_journal'

  constructor(file: string, line: number, options?: ErrorOptions) {
    super(
      `The simulated cluster's state ${file} is damaged at line ${line}. Move the folder away to start with an empty cluster.`,
      options,
    )
    this.name = 'DamagedJournalError'
  }
}

const fileName = 'journal.jsonl'
const header = 'sluice-simulated-cluster 1'
/** Rewritten when it is this long and mostly history. */
const compactAtBytes = 64 * 1024 * 1024

/**
 * Keeps objects in one file, a line per change. A change is in the operating system's hands before it is acknowledged,
 * so that it survives `kill -9`; it is not flushed to the disk, so that it may not survive a power cut.
 */
export class Journal {
  readonly #file: string
  #descriptor: number
  /** Where the next line goes. It moves on only after a whole line, so that a failed write is overwritten. */
  #position: number
  #sizeAfterCompaction = 0

  private constructor(file: string, { descriptor, size }: WrittenFile) {
    this.#file = file
    this.#descriptor = descriptor
    this.#position = size
  }

  /** Reads what is there, then rewrites it without its history. */
  static open(folder: string): { readonly journal: Journal; readonly entries: readonly JournalEntry[] } {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const file = join(folder, fileName)
    const { lines, version } = existsSync(file) ? readLines(file) : { lines: new Map<string, string>(), version: 0 }
    const entries = [...lines.values()].map((line, index) => parseLine(line, file, index + 2))
    const journal = new Journal(file, rewrite(file, version, lines.values()))
    return { journal, entries: [...entries, { version, resource: '', key: '', object: undefined }] }
  }

  /** `text` is the object's JSON, which most callers have at hand. */
  append(entry: JournalEntry, text: string | undefined): void {
    const line = `${JSON.stringify([entry.version, entry.resource, entry.key])}${text === undefined ? '' : `\t${text}`}\n`
    this.#position += writeAll(this.#descriptor, line, this.#position)
  }

  get wantsCompaction(): boolean {
    return this.#position > compactAtBytes && this.#position > 3 * this.#sizeAfterCompaction
  }

  compact(version: number, objects: Iterable<readonly [resource: string, key: string, text: string]>): void {
    const lines: string[] = []
    for (const [resource, key, text] of objects) lines.push(`${JSON.stringify([version, resource, key])}\t${text}`)
    const { descriptor, size } = rewrite(this.#file, version, lines)
    closeSync(this.#descriptor)
    this.#descriptor = descriptor
    this.#position = size
    this.#sizeAfterCompaction = size
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}

function readLines(file: string): { readonly lines: Map<string, string>; readonly version: number } {
  const text = readFileSync(file, 'utf8')
  const all = text.split('\n')
  const first = all.shift() ?? ''
  if (!first.startsWith(header)) throw new DamagedJournalError(file, 1)
  let version = Number(first.slice(header.length).trim() || 0)
  // The text ends in a line break; anything behind it is a line that a crash cut off before it was acknowledged.
  all.pop()
  const lines = new Map<string, string>()
  for (const [index, line] of all.entries()) {
    const head = line.slice(0, line.indexOf('\t') < 0 ? undefined : line.indexOf('\t'))
    const [at, resource, key] = parseHead(head, file, index + 2)
    version = Math.max(version, at)
    const id = `${resource}\0${key}`
    if (line.includes('\t')) lines.set(id, line)
    else lines.delete(id)
  }
  return { lines, version }
}

function parseHead(text: string, file: string, line: number): readonly [number, string, string] {
  try {
    const head: unknown = JSON.parse(text)
    if (Array.isArray(head) && typeof head[0] === 'number') return [head[0], String(head[1]), String(head[2])]
  } catch (cause) {
    throw new DamagedJournalError(file, line, { cause })
  }
  throw new DamagedJournalError(file, line)
}

function parseLine(line: string, file: string, number: number): JournalEntry {
  const tab = line.indexOf('\t')
  const [version, resource, key] = parseHead(line.slice(0, tab), file, number)
  let object: unknown
  try {
    object = JSON.parse(line.slice(tab + 1))
  } catch (cause) {
    throw new DamagedJournalError(file, number, { cause })
  }
  if (!isKubernetesObject(object)) throw new DamagedJournalError(file, number)
  return { version, resource, key, object }
}

interface WrittenFile {
  readonly descriptor: number
  readonly size: number
}

/** Atomic: until the rename, the old file is whole; after it, the new one is. */
function rewrite(file: string, version: number, lines: Iterable<string>): WrittenFile {
  const draft = `${file}.new`
  const descriptor = openSync(draft, 'w', 0o600)
  let size = writeAll(descriptor, `${header} ${version}\n`, 0)
  let chunk = ''
  for (const line of lines) {
    chunk += `${line}\n`
    if (chunk.length > 1_000_000) {
      size += writeAll(descriptor, chunk, size)
      chunk = ''
    }
  }
  size += writeAll(descriptor, chunk, size)
  renameSync(draft, file)
  return { descriptor, size }
}

/** Returns the number of bytes. */
function writeAll(descriptor: number, text: string, position: number): number {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at, bytes.length - at, position + at)
  return bytes.length
}
