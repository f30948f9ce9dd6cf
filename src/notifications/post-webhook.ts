import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { pinAddress, type Resolve } from '../platform/public-address.ts'
import { parseWebhookUrl } from './webhook-url.ts'

export interface WebhookRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly signal: AbortSignal
  readonly resolve?: Resolve
  /** Which addresses may be reached. @default those of the open internet */
  readonly mayReach?: (address: string) => boolean
}

const timeoutMs = 15_000

/**
 * Sends one message to the one address that was looked at. Follows no redirect and reads no answer. Resolves with the
 * status code. @throws RefusedAddressError, or the connection's error
 */
export async function postWebhook(options: WebhookRequest): Promise<number> {
  const { headers, body } = options
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)])
  const url = parseWebhookUrl(options.url, options.mayReach)
  const pinned = await pinAddress(url, options)
  signal.throwIfAborted()
  const send = url.protocol === 'https:' ? requestHttps : requestHttp
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'sluice-webhooks/1',
        'content-length': String(Buffer.byteLength(body)),
        ...headers,
      },
      // A connection of its own: none that another name has opened.
      agent: false,
      signal,
      // The name stands in Host and in TLS; the address is the one that was judged.
      lookup: (_hostname, { all }, callback) => {
        if (all === true) callback(null, [{ address: pinned.address, family: pinned.family }])
        else callback(null, pinned.address, pinned.family)
      },
    })
    request.once('response', (response) => {
      resolve(response.statusCode ?? 0)
      response.destroy()
    })
    request.once('error', reject)
    request.end(body)
  })
}
