import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns'
import { BlockList, isIP } from 'node:net'

/**
 * Which addresses a connection may not have. `local`: this machine's own, link-local ones, and those where clouds keep
 * metadata. `link-local`: the same without this machine's own, for a machine that somebody develops on. Private networks
 * are never refused: that is where clusters are.
 */
export type RefusedAddresses = 'local' | 'link-local'

const thisMachine = new BlockList()
thisMachine.addSubnet('0.0.0.0', 8, 'ipv4')
thisMachine.addSubnet('127.0.0.0', 8, 'ipv4')
thisMachine.addAddress('::', 'ipv6')
thisMachine.addAddress('::1', 'ipv6')

// Clouds keep metadata, and with it credentials, at link-local addresses and at some that look public or private.
const linkLocal = new BlockList()
linkLocal.addSubnet('169.254.0.0', 16, 'ipv4')
linkLocal.addAddress('100.100.100.200', 'ipv4')
linkLocal.addAddress('168.63.129.16', 'ipv4')
linkLocal.addSubnet('192.0.0.0', 24, 'ipv4')
linkLocal.addSubnet('224.0.0.0', 3, 'ipv4')
linkLocal.addSubnet('fe80::', 10, 'ipv6')
linkLocal.addAddress('fd00:ec2::254', 'ipv6')
linkLocal.addAddress('fd20:ce::254', 'ipv6')
linkLocal.addSubnet('ff00::', 8, 'ipv6')

/** Whether `host` (an address, or a name that needs no DNS) is refused. Takes `[::1]` and `::1`. */
export function isRefusedHost(host: string, refuse: RefusedAddresses): boolean {
  const bare = host
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
    .replace(/\.$/, '')
  if (bare === 'localhost' || bare.endsWith('.localhost')) return refuse === 'local'
  if (bare === 'metadata.google.internal') return true
  const family = isIP(bare)
  return family !== 0 && isRefusedAddress(bare, family, refuse)
}

function isRefusedAddress(scoped: string, family: number, refuse: RefusedAddresses): boolean {
  // A link-local address may come with its interface: fe80::1%eth0.
  const address = scoped.replace(/%.*$/, '')
  // ::ffff:127.0.0.1 and its kin reach the IPv4 address that they embed.
  const embedded = family === 4 ? address : embeddedIpv4(address)
  return (refuse === 'local' ? [thisMachine, linkLocal] : [linkLocal]).some(
    (list) => (family === 6 && list.check(address, 'ipv6')) || (embedded !== undefined && list.check(embedded, 'ipv4')),
  )
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

type Lookup = (hostname: string, options: LookupOptions, callback: LookupCallback) => void

/** A DNS look-up that refuses at connect time: checking the name earlier can be fooled by rebinding. */
export function refusingLookup(refuse: RefusedAddresses): Lookup {
  return (hostname, options, callback) => {
    dnsLookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) {
        callback(error, '')
        return
      }
      const refused = addresses.find(({ address, family }) => isRefusedAddress(address, family, refuse))
      if (refused) {
        callback(
          new Error(`${hostname} resolves to ${refused.address}, an address of this machine or link-local: refused`),
          '',
        )
        return
      }
      const [first] = addresses
      if (options.all || !first) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}
