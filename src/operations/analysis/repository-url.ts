import { isIP } from 'node:net'
import { bareHost, isLocalName, isPublicAddress } from '../../platform/public-address.ts'

/**
 * Hosts of this network that repositories may be on, as they stand in a URL: `git.corp.example`, or `git.corp.example:8443`.
 * Their addresses are not looked at, and they may be asked over http.
 */
export type GitHosts = readonly string[]

/** As one URL for each way to write it: host in lower case, no slash at the end. What is no URL stays as it is. */
export function tidyRepository(text: string): string {
  return URL.canParse(text) ? new URL(text).href.replace(/\/+$/, '') : text
}

/** Why a repository's URL is refused, as far as one can see without asking anybody; undefined where it is not. */
export function refuseRepository(text: string, hosts: GitHosts): string | undefined {
  if (!URL.canParse(text)) return 'is not a URL such as https://github.com/acme/shop'
  const url = new URL(text)
  const known = isKnownHost(url, hosts)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && known)) return 'must be an https URL'
  if (url.username !== '' || url.password !== '') return 'must hold no user and password'
  if (url.search !== '' || url.hash !== '') return 'must hold no query and no fragment'
  if (url.pathname.length < 2) return 'names a host and no repository'
  const host = bareHost(url)
  if (known) return undefined
  if (isIP(host) !== 0 && !isPublicAddress(host)) return `${host} is not an address of the open internet`
  if (host.endsWith('.') || (isIP(host) === 0 && isLocalName(host)))
    return `${host} is a name of this machine or network`
  return undefined
}

export const isKnownHost = (url: URL, hosts: GitHosts): boolean =>
  hosts.includes(url.host) || hosts.includes(url.hostname)

/** `github.com/acme/shop`: the repository as records and keys name it, however it is reached. */
export function nameRepository(repository: string): string {
  const { host, pathname } = new URL(repository)
  return `${host}${pathname}`.replace(/\.git$/, '')
}

/** What git allows in the name of a branch or tag (git-check-ref-format), and nothing that `ls-remote` reads as a pattern. */
export function isRefName(text: string): boolean {
  return (
    // oxlint-disable-next-line no-control-regex -- git refuses them in names
    !/[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\/|^[-/.]|\/\.|\.lock(\/|$)|[./]$/.test(text) && text !== '@'
  )
}
