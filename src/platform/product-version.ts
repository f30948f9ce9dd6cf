import { createRequire } from 'node:module'

/** Of this program, from its package. */
export const productVersion: string = readVersion()

function readVersion(): string {
  // As far from src/platform as from dist/platform.
  const found: unknown = createRequire(import.meta.url)('../../package.json')
  return typeof found === 'object' && found !== null && 'version' in found ? String(found.version) : 'unknown'
}
