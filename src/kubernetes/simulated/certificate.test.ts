import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { makeCertificate } from './certificate.ts'

test('a certificate is for its names and addresses, for ten years, and its own authority', () => {
  const now = Date.UTC(2026, 0, 1)
  const { certificate } = makeCertificate(['127.0.0.1', '::1', 'localhost'], now)
  const parsed = new X509Certificate(certificate)
  expect(parsed.checkIP('127.0.0.1')).toBe('127.0.0.1')
  expect(parsed.checkIP('::1')).toBe('::1')
  expect(parsed.checkHost('localhost')).toBe('localhost')
  expect(parsed.checkHost('example.com')).toBeUndefined()
  expect(parsed.verify(parsed.publicKey)).toBe(true)
  expect(parsed.ca).toBe(true)
  expect(new Date(parsed.validTo).getUTCFullYear()).toBe(2035)
  expect(new Date(parsed.validFrom).getTime()).toBeLessThan(now)
})
