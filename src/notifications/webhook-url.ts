import { isIP } from 'node:net'
import { bareHost, isLocalName, isPublicAddress, RefusedAddressError } from '../platform/public-address.ts'

/** Reads a webhook's URL. @throws RefusedAddressError where it is no https URL of a public host, as far as one can see */
export function parseWebhookUrl(text: string, mayReach: (address: string) => boolean = isPublicAddress): URL {
  if (text.length > 2_048 || !URL.canParse(text)) throw new RefusedAddressError('This is not a URL.')
  const url = new URL(text)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && mayReach('127.0.0.1'))) {
    throw new RefusedAddressError('A webhook needs an https URL.')
  }
  if (url.username !== '' || url.password !== '') {
    throw new RefusedAddressError('A webhook URL holds no user and password: receivers verify the signature.')
  }
  const host = bareHost(url)
  const family = isIP(host)
  if (family !== 0 && !mayReach(host)) throw new RefusedAddressError(`${host} is not an address of the open internet.`)
  if (family === 0 && isLocalName(host)) throw new RefusedAddressError(`${host} is a name of this machine or network.`)
  return url
}
