import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns'
import { BlockList, isIP } from 'node:net'

// Where no tenant's cluster is: this machine, link-local (cloud metadata lives there), and metadata by other addresses.
const refused = new BlockList()
refused.addSubnet('0.0.0.0', 8, 'ipv4')
refused.addSubnet('127.0.0.0', 8, 'ipv4')
refused.addSubnet('169.254.0.0', 16, 'ipv4')
refused.addAddress('100.100.100.200', 'ipv4')
refused.addSubnet('224.0.0.0', 3, 'ipv4')
refused.addAddress('::', 'ipv6')
refused.addAddress('::1', 'ipv6')
refused.addSubnet('fe80::', 10, 'ipv6')
refused.addAddress('fd00:ec2::254', 'ipv6')
refused.addSubnet('ff00::', 8, 'ipv6')

/** Whether `host` (an address, or a name that needs no DNS) is this machine or link-local. Takes `[::1]` and `::1`. */
export function isLocalHost(host: string): boolean {
  const bare = host
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
    .replace(/\.$/, '')
  if (bare === 'localhost' || bare.endsWith('.localhost') || bare === 'metadata.google.internal') return true
  const family = isIP(bare)
  return family !== 0 && isLocalAddress(bare, family)
}

function isLocalAddress(address: string, family: number): boolean {
  if (family === 4) return refused.check(address, 'ipv4')
  // ::ffff:127.0.0.1 and its kin reach the IPv4 address that they embed.
  const embedded = embeddedIpv4(address)
  return refused.check(address, 'ipv6') || (embedded !== undefined && refused.check(embedded, 'ipv4'))
}

function embeddedIpv4(address: string): string | undefined {
  // The URL parser has written the address in its shortest form: ::ffff:7f00:1, 64:ff9b::7f00:1.
  const match = /^(?:::ffff:|::ffff:0:|64:ff9b::|::)(?:(\d+\.\d+\.\d+\.\d+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/.exec(
    new URL(`http://[${address}]`).hostname.slice(1, -1),
  )
  if (!match) return undefined
  if (match[1] !== undefined) return match[1]
  const high = Number.parseInt(match[2] ?? '', 16)
  const low = Number.parseInt(match[3] ?? '', 16)
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void

/** A DNS look-up that refuses names of this machine at connect time: checking the name earlier can be fooled by rebinding. */
export function lookupRemote(hostname: string, options: LookupOptions, callback: LookupCallback): void {
  dnsLookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) {
      callback(error, '')
      return
    }
    const local = addresses.find(({ address, family }) => isLocalAddress(address, family))
    if (local) {
      callback(
        new Error(`${hostname} resolves to ${local.address}, an address of this machine or link-local: refused`),
        '',
      )
      return
    }
    const [first] = addresses
    if (options.all || !first) callback(null, addresses)
    else callback(null, first.address, first.family)
  })
}
