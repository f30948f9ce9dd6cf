import { lookup as dnsLookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

/** A place that what others ask for may not reach. */
export class RefusedAddressError extends Error {
  readonly code = 'address_refused'
}

// IANA's special-purpose registry, and where clouds keep metadata (169.254.169.254, 100.100.100.200, 168.63.129.16).
const specialIpv4 = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  specialIpv4.addSubnet(network, prefix, 'ipv4')
}

// Global unicast is 2000::/3: mapped (::ffff:…), NAT64, unique local, link-local and multicast stand outside of it.
const globalIpv6 = new BlockList()
globalIpv6.addSubnet('2000::', 3, 'ipv6')
// Within it: Teredo and its kin, documentation, and 6to4, which embeds any IPv4 address.
const specialIpv6 = new BlockList()
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  specialIpv6.addSubnet(network, prefix, 'ipv6')
}

/** Whether an address is one of the open internet. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !specialIpv4.check(address, 'ipv4')
  return family === 6 && globalIpv6.check(address, 'ipv6') && !specialIpv6.check(address, 'ipv6')
}

export interface Address {
  readonly address: string
  readonly family: number
}

export type Resolve = (hostname: string) => Promise<readonly Address[]>

const resolveByDns: Resolve = (hostname) => dnsLookup(hostname, { all: true, order: 'verbatim' })

/** Whether a name stands for this machine or this network, whatever DNS says of it. */
export const isLocalName = (host: string): boolean => localName.test(host)

const localName =
  /^(localhost|[^.]+|.*\.(localhost|local|localdomain|internal|intranet|lan|home|corp|home\.arpa|svc|cluster\.local))\.?$/

/** Without the brackets of an IPv6 address. */
export const bareHost = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '').toLowerCase()

/**
 * The one address to connect to. Every address of the name must be public; and the answer is what the connection uses,
 * since asking again could be answered otherwise (DNS rebinding).
 */
export async function pinAddress(
  url: URL,
  options: { readonly resolve?: Resolve; readonly mayReach?: (address: string) => boolean } = {},
): Promise<Address> {
  const { resolve = resolveByDns, mayReach = isPublicAddress } = options
  const host = bareHost(url)
  const family = isIP(host)
  const addresses = family === 0 ? await resolve(host) : [{ address: host, family }]
  const refused = addresses.find(({ address }) => !mayReach(address))
  if (refused) {
    throw new RefusedAddressError(`${host} is at ${refused.address}, which is not an address of the open internet.`)
  }
  const [first] = addresses
  if (!first) throw new Error(`${host} has no address`)
  return first
}
