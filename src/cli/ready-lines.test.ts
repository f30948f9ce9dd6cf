import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keepDevelopmentTokens } from './development-tokens.ts'
import { describeReady } from './ready-lines.ts'
import { parseStartOptions } from './start-options.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice\'s folder with a "name" '))
})
afterAll(() => rm(folder, { recursive: true }))

const ready = { url: 'http://127.0.0.1:8080', oneTimeCode: 'once', kubeconfigPath: undefined, freshName: 'demo-1' }

describe('the lines of a ready Sluice', () => {
  test('the first is exactly the address, then curl, npx and the console', () => {
    expect(describeReady(parseStartOptions({}, {}), ready).split('\n')).toEqual([
      'Sluice is ready on http://127.0.0.1:8080',
      expect.stringMatching(
        /^curl -sS http:\/\/127\.0\.0\.1:8080\/api\/v1\/projects -H "Authorization: Bearer \$\(sed /,
      ),
      'npx sluice submit project.create --input name=demo-1-2 --input organization=acme --wait',
      'Console: http://127.0.0.1:8080/?code=once',
      '',
    ])
  })

  test('the npx line says what is not as usual', () => {
    const options = parseStartOptions({ data: '/var/lib/my sluice' }, {})
    const lines = describeReady(options, { ...ready, url: 'http://127.0.0.1:9000' })
    expect(lines).toMatch(/ --wait --url http:\/\/127\.0\.0\.1:9000 --data '\/var\/lib\/my sluice'\n/)
  })

  test('the simulated cluster is called simulated', () => {
    const lines = describeReady(parseStartOptions({}, {}), { ...ready, kubeconfigPath: '/d/k' })
    expect(lines).toContain('Simulated cluster: kubectl --kubeconfig /d/k get projects.resourcemanager.miloapis.com\n')
  })

  test('without development principals the reader brings a token, and is told why', () => {
    const lines = describeReady(parseStartOptions({ host: '0.0.0.0' }, {}), { ...ready, oneTimeCode: undefined })
    expect(lines).toContain('-H "Authorization: Bearer $SLUICE_TOKEN"')
    expect(lines).toContain('The development tokens are off, because others than this machine can reach 0.0.0.0.')
    expect(lines).not.toContain('Console:')
  })

  test('where to sign in, with the demo’s identity provider and with one’s own', () => {
    const demo = { issuer: 'http://127.0.0.1:9000', users: ['rita', 'anna'] }
    expect(describeReady(parseStartOptions({ demo: true }, {}), { ...ready, demo })).toContain(
      'Sign in: http://127.0.0.1:8080/login as rita, anna (demo identity provider: http://127.0.0.1:9000)\n',
    )
    const flags = { oidcIssuer: 'https://id.example.com', oidcClientId: 'c', publicUrl: 'https://sluice.example.com' }
    expect(describeReady(parseStartOptions(flags, {}), ready)).toContain(
      'Sign in: https://sluice.example.com/login (identity provider: https://id.example.com)\n',
    )
  })

  test('a worker alone serves nothing to paste', () => {
    const options = parseStartOptions({ role: 'worker' }, { DATABASE_URL: 'postgres://db/sluice' })
    expect(describeReady(options, ready)).toBe('Sluice worker is ready\n')
  })
})

test.skipIf(process.platform === 'win32')('the curl line works as printed, whatever the folder is called', async () => {
  const { requester } = await keepDevelopmentTokens(folder)
  const received = Promise.withResolvers<unknown>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, url, headers } = request
      received.resolve({ method, url, authorization: headers.authorization, body: Buffer.concat(chunks).toString() })
      response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // `address` is an object for a server that listens on a port.
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const options = parseStartOptions({ data: folder }, {})
  const curl = describeReady(options, { ...ready, url }).split('\n')[1] ?? ''
  await promisify(execFile)('sh', ['-c', curl])
  expect(await received.promise).toEqual({
    method: 'POST',
    url: '/api/v1/projects',
    authorization: `Bearer ${requester}`,
    body: '{"name":"demo-1-1","organization":"acme"}',
  })
  await new Promise((resolve) => server.close(resolve))
})
