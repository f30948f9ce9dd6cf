import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { isIP } from 'node:net'

export interface Certificate {
  /** PEM; also the authority that clients trust. */
  readonly certificate: string
  /** PEM, PKCS #8. */
  readonly key: string
}

const tag = { integer: 2, bits: 3, octets: 4, oid: 6, utf8: 12, time: 23, sequence: 0x30, set: 0x31 } as const

const oid = {
  ecdsaWithSha256: '2a8648ce3d040302',
  commonName: '550403',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  keyUsage: '551d0f',
  extendedKeyUsage: '551d25',
  serverAuth: '2b06010505070301',
} as const

/**
 * A self-signed certificate (RFC 5280) for the given names and addresses, valid for ten years.
 * kubectl sends a bearer token over TLS only, and Node makes keys but no certificates.
 */
export function makeCertificate(hosts: readonly string[], now: number): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(object(oid.ecdsaWithSha256))
  const name = sequence(
    der(tag.set, sequence(object(oid.commonName), der(tag.utf8, Buffer.from('sluice simulated cluster')))),
  )
  const toBeSigned = sequence(
    // Version 3, as extensions need it.
    der(0xa0, der(tag.integer, Buffer.from([2]))),
    der(tag.integer, serialNumber()),
    algorithm,
    name,
    sequence(time(now - 86_400_000), time(now + 10 * 365 * 86_400_000)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions(hosts))),
  )
  const signature = sign('sha256', toBeSigned, privateKey)
  const certificate = sequence(toBeSigned, algorithm, der(tag.bits, Buffer.from([0]), signature))
  return { certificate: pem(certificate), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

function extensions(hosts: readonly string[]): Buffer[] {
  const names = hosts.map((host) =>
    isIP(host) === 0 ? der(0x82, Buffer.from(host, 'ascii')) : der(0x87, addressBytes(host)),
  )
  return [
    extension(oid.subjectAltName, sequence(...names)),
    extension(oid.basicConstraints, sequence(der(1, Buffer.from([0xff])))),
    // digitalSignature and keyCertSign: the certificate is its own authority.
    extension(oid.keyUsage, der(tag.bits, Buffer.from([2, 0b1000_0100]))),
    extension(oid.extendedKeyUsage, sequence(object(oid.serverAuth))),
  ]
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(object(id), der(tag.octets, value))
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number))
  const [head = '', tail = ''] = address.split('::')
  const left = head.split(':').filter((part) => part !== '')
  const right = tail.split(':').filter((part) => part !== '')
  const middle = Array.from({ length: 8 - left.length - right.length }, () => '0')
  const bytes = [...left, ...middle, ...right].map((part) => part.padStart(4, '0')).join('')
  return Buffer.from(bytes, 'hex')
}

function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  // Positive and without a leading zero byte.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes
}

function time(milliseconds: number): Buffer {
  // UTCTime, which the standard demands until 2049: two digits of the year.
  const digits = new Date(milliseconds).toISOString().replaceAll(/[-:T]/g, '').slice(2, 14)
  return der(tag.time, Buffer.from(`${digits}Z`, 'ascii'))
}

function object(hex: string): Buffer {
  return der(tag.oid, Buffer.from(hex, 'hex'))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(tag.sequence, ...parts)
}

function der(tagByte: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const { length } = body
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tagByte, ...size]), body])
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
