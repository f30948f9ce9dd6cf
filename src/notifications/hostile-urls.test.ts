import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { postWebhook } from './post-webhook.ts'
import { isPublicAddress, RefusedAddressError } from '../platform/public-address.ts'
import { parseWebhookUrl } from './webhook-url.ts'

const hostile = [
  'https://127.0.0.1/',
  'https://127.1/',
  'https://2130706433/',
  'https://0x7f000001/',
  'https://0177.0.0.1/',
  'https://0x7f.0.0.1/',
  'https://127.255.255.254/',
  'https://0.0.0.0/',
  'https://0/',
  'https://10.0.0.1/',
  'https://10.255.255.255/',
  'https://172.16.0.1/',
  'https://172.31.255.255/',
  'https://192.168.1.1/',
  'https://169.254.169.254/latest/meta-data/',
  'https://2852039166/',
  'https://0xa9fea9fe/',
  'https://100.100.100.200/',
  'https://168.63.129.16/',
  'https://100.64.0.1/',
  'https://192.0.0.170/',
  'https://192.0.2.1/',
  'https://198.18.0.1/',
  'https://198.51.100.1/',
  'https://203.0.113.1/',
  'https://192.88.99.1/',
  'https://224.0.0.1/',
  'https://240.0.0.1/',
  'https://255.255.255.255/',
  'https://[::1]/',
  'https://[::]/',
  'https://[::ffff:127.0.0.1]/',
  'https://[::ffff:7f00:1]/',
  'https://[0:0:0:0:0:ffff:a9fe:a9fe]/',
  'https://[::ffff:0:127.0.0.1]/',
  'https://[::127.0.0.1]/',
  'https://[64:ff9b::7f00:1]/',
  'https://[64:ff9b:1::a00:1]/',
  'https://[2002:7f00:1::]/',
  'https://[2002:a9fe:a9fe::1]/',
  'https://[2001:0:7f00:1::]/',
  'https://[2001:db8::1]/',
  'https://[fe80::1]/',
  'https://[fc00::1]/',
  'https://[fd00:ec2::254]/',
  'https://[ff02::1]/',
  'https://[3fff::1]/',
  'https://[100::1]/',
  'https://localhost/',
  'https://LOCALHOST./',
  'https://foo.localhost/',
  'https://metadata.google.internal/',
  'https://metadata/',
  'https://kubernetes.default.svc/',
  'https://api.prod.svc.cluster.local/',
  'https://printer.local/',
  'https://router.lan/',
  'https://①②⑦.⓪.⓪.①/',
  'https://user:pass@example.com/',
  'https://example.com@127.0.0.1/',
  'http://example.com/',
  'ftp://example.com/',
  'file:///etc/passwd',
  'gopher://example.com/',
  'javascript:alert(1)',
  'data:text/plain,x',
  '//example.com/',
  'https://',
  '',
  `https://example.com/${'a'.repeat(3_000)}`,
]

let server: Server
let port: number
let hits = 0
beforeAll(async () => {
  server = createServer((request, response) => {
    hits++
    if (request.url === '/redirect') response.writeHead(302, { location: '/secret' })
    response.end('a secret')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never a pipe's string.
  port = (server.address() as AddressInfo).port
})
afterAll(() => new Promise((resolve) => server.close(resolve)))

const message = { headers: {}, body: '{}', signal: new AbortController().signal }

describe('webhooks reach the open internet only', () => {
  test.each(hostile)('refused: %s', async (url) => {
    expect(() => parseWebhookUrl(url)).toThrow(RefusedAddressError)
    await expect(postWebhook({ ...message, url })).rejects.toThrow(RefusedAddressError)
  })

  test.each([
    'https://example.com/hook',
    'https://93.184.216.34/',
    'https://[2606:4700::1111]/',
    'https://a.example.com:8443/x',
  ])('accepted: %s', (url) => {
    expect(parseWebhookUrl(url).href).toBe(url)
  })

  test.each(['10.0.0.1', '169.254.169.254', '::1', '::ffff:10.0.0.1', 'fd00::1', '64:ff9b::a9fe:a9fe'])(
    'a public name at %s is refused after it was resolved',
    async (address) => {
      const resolve = async () => [
        { address: '93.184.216.34', family: 4 },
        { address, family: address.includes(':') ? 6 : 4 },
      ]
      await expect(postWebhook({ ...message, url: 'https://evil.example.com/', resolve })).rejects.toThrow(
        /open internet/,
      )
    },
  )

  test('a resolver that answers otherwise the second time is asked once: what was judged is what is reached', async () => {
    const answers = ['127.0.0.1', '169.254.169.254']
    let asked = 0
    const resolve = async () => [{ address: answers[asked++] ?? '', family: 4 }]
    // Loopback stands for the public address here, so that the test sees who is reached.
    const mayReach = (address: string) => address === '127.0.0.1' || isPublicAddress(address)
    const before = hits
    const status = await postWebhook({ ...message, url: `http://rebinding.example.com:${port}/`, resolve, mayReach })
    expect({ status, asked, hits: hits - before }).toEqual({ status: 200, asked: 1, hits: 1 })
  })

  test('a redirect is an answer, and nobody follows it', async () => {
    const before = hits
    const url = `http://127.0.0.1:${port}/redirect`
    expect(await postWebhook({ ...message, url, mayReach: () => true })).toBe(302)
    expect(hits - before).toBe(1)
  })
})
