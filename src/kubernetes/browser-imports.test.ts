import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

/** What a module loads when it runs: its own imports and theirs. Types are gone by then. */
function loadedBy(file: string, seen = new Map<string, readonly string[]>()): Map<string, readonly string[]> {
  if (seen.has(file)) return seen
  const source = readFileSync(file, 'utf8')
  const specifiers = [...source.matchAll(/^(?:import|export) (?!type )(?:[^'"]*? from )?'([^']+)'/gm)].map(
    (match) => match[1] ?? '',
  )
  seen.set(file, specifiers)
  for (const specifier of specifiers) if (specifier.startsWith('.')) loadedBy(resolve(dirname(file), specifier), seen)
  return seen
}

describe('what browsers import', () => {
  test.each(['wait-for-watch.ts', 'wait-for-ready.ts', 'readiness.ts'])(
    '%s loads nothing that only Node has',
    (name) => {
      const loaded = loadedBy(resolve(import.meta.dirname, name))
      const packages = [...loaded.values()].flat().filter((specifier) => !specifier.startsWith('.'))
      expect(packages.filter((each) => !['zod', '@marcbachmann/cel-js'].includes(each))).toEqual([])
      for (const file of loaded.keys())
        expect(readFileSync(file, 'utf8'), file).not.toMatch(/\b(process|Buffer|require)\b[.(]/)
    },
  )

  test('the test sees what is loaded', () => {
    const loaded = [...loadedBy(resolve(import.meta.dirname, 'transport.ts')).values()].flat()
    expect(loaded).toContain('undici')
    expect(loaded).toContain('node:dns')
  })
})
