import { hiddenSecret } from '../platform/secret-box.ts'
import type { InputSecret } from './secret-input.ts'

/** Shorter ones stand in too many words that are none. */
const shortestSecret = 6

/**
 * A copy in which no text holds one of these secrets: not whole, not a line of it, not as base64 or inside JSON. Others
 * repeat what they were given (an API server that refuses a field quotes it), and what they say is kept and shown.
 */
export function withoutSecrets<T>(value: T, secrets: readonly InputSecret[]): T {
  const texts = [...new Set(secrets.flatMap(({ value: secret }) => formsOf(secret)))].sort(
    (a, b) => b.length - a.length,
  )
  // The shape stays: texts become texts.
  return texts.length === 0 ? value : (hide(value, texts) as T)
}

function formsOf(secret: string): string[] {
  const lines = secret
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line.length >= 2 * shortestSecret)
  return [secret, ...lines]
    .flatMap((text) => [
      text,
      JSON.stringify(text).slice(1, -1),
      encodeURIComponent(text),
      Buffer.from(text).toString('base64').replace(/=+$/, ''),
      Buffer.from(text, 'base64').toString('utf8'),
    ])
    .filter((text) => text.length >= shortestSecret && !text.includes('\uFFFD'))
}

function hide(value: unknown, texts: readonly string[]): unknown {
  if (typeof value === 'string') return texts.reduce((text, secret) => text.replaceAll(secret, hiddenSecret), value)
  if (Array.isArray(value)) return value.map((item) => hide(item, texts))
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, hide(item, texts)]))
}
