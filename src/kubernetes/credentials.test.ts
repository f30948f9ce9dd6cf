import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { ClusterConfigurationError, UnauthorizedError } from './cluster-errors.ts'
import { createCredentials } from './credentials.ts'
import { ManualClock } from './manual-clock.ts'

const folder = mkdtempSync(join(tmpdir(), 'credentials-'))
afterAll(() => rmSync(folder, { recursive: true }))
let clock = new ManualClock()
beforeEach(() => {
  clock = new ManualClock()
})

interface Parts {
  readonly cluster?: object
  readonly user?: object | null
  readonly server?: string
  readonly context?: string
}

function kubeconfig({
  cluster,
  user = { token: 'one' },
  server = 'https://a.example.com',
  context = 'x',
}: Parts = {}): string {
  return stringify({
    clusters: [{ name: `c-${context}`, cluster: { server, ...cluster } }],
    users: user === null ? [] : [{ name: `u-${context}`, user }],
    contexts: [{ name: context, context: { cluster: `c-${context}`, ...(user !== null && { user: `u-${context}` }) } }],
    'current-context': context,
  })
}

function write(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const open = (text: string, context?: string) =>
  createCredentials({ kind: 'kubeconfig', kubeconfig: text, context }, clock)

describe('credentials from a kubeconfig', () => {
  test('a token', async () => {
    expect(await open(kubeconfig()).current()).toEqual({
      server: 'https://a.example.com',
      headers: { authorization: 'Bearer one' },
      tls: {},
      proxyUrl: undefined,
    })
  })

  test('user name and password', async () => {
    const { headers } = await open(kubeconfig({ user: { username: 'a', password: 'b' } })).current()
    expect(headers).toEqual({ authorization: `Basic ${Buffer.from('a:b').toString('base64')}` })
  })

  test('certificates, from data and from files beside the kubeconfig', async () => {
    write('user.crt', 'CERT')
    write('user.key', 'KEY')
    const ca = Buffer.from('CA').toString('base64')
    const text = kubeconfig({
      cluster: { 'certificate-authority-data': ca, 'tls-server-name': 'inner', 'insecure-skip-tls-verify': true },
      user: { 'client-certificate': 'user.crt', 'client-key': 'user.key' },
    })
    const { tls } = await open(write('files.kubeconfig', text)).current()
    expect(tls).toEqual({ ca: 'CA', cert: 'CERT', key: 'KEY', servername: 'inner', rejectUnauthorized: false })
  })

  test('no user at all, and still its authority', async () => {
    const ca = Buffer.from('CA').toString('base64')
    const { headers, tls } = await open(
      kubeconfig({ cluster: { 'certificate-authority-data': ca }, user: null }),
    ).current()
    expect({ headers, tls }).toEqual({ headers: {}, tls: { ca: 'CA' } })
  })

  test('plain HTTP', async () => {
    const { server, tls } = await open(kubeconfig({ server: 'http://127.0.0.1:1' })).current()
    expect([server, tls.ca]).toEqual(['http://127.0.0.1:1', undefined])
  })

  test('a token in a file beside the kubeconfig, which is read again to renew', async () => {
    const token = write('token', 'from-file\n')
    const path = write('token-file.kubeconfig', kubeconfig({ user: { token: 'stale', tokenFile: 'token' } }))
    const credentials = open(path)
    expect((await credentials.current()).headers).toEqual({ authorization: 'Bearer from-file' })
    writeFileSync(token, 'renewed\n')
    expect((await credentials.current({ renew: true })).headers).toEqual({ authorization: 'Bearer renewed' })
  })

  test('impersonation of a user, but not silently without the groups', async () => {
    const { headers } = await open(kubeconfig({ user: { token: 'one', as: 'alice' } })).current()
    expect(headers).toEqual({ authorization: 'Bearer one', 'impersonate-user': 'alice' })
    const withGroups = open(kubeconfig({ user: { token: 'one', as: 'alice', 'as-groups': ['devs'] } }))
    await expect(withGroups.current()).rejects.toThrow('has as-groups, which is not supported')
  })

  test('several files, as in KUBECONFIG, and another context', async () => {
    const a = write('a.kubeconfig', kubeconfig())
    const b = write('b.kubeconfig', kubeconfig({ context: 'y', user: { token: 'two' } }))
    const paths = [a, b].join(delimiter)
    expect((await open(paths).current()).headers).toEqual({ authorization: 'Bearer one' })
    expect((await open(paths, 'y').current()).headers).toEqual({ authorization: 'Bearer two' })
  })

  test.each([
    ['a file that is not there', '/nowhere/kubeconfig', undefined, 'cannot be read'],
    ['no YAML', '{\n', undefined, 'cannot be read'],
    ['nothing', '\n', undefined, 'cannot be read'],
    ['a context that is not there', kubeconfig(), 'nope', 'no usable context "nope". It has: x.'],
  ])('%s: one clear sentence', async (_, text, context, message) => {
    const error: unknown = await open(text, context)
      .current()
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ClusterConfigurationError)
    expect(String(error)).toContain(message)
  })
})

describe('credentials that change', () => {
  test('a kubeconfig that was written again is read again, within 10 s', async () => {
    const path = write('rotated.kubeconfig', kubeconfig())
    const credentials = open(path)
    await credentials.current()
    write('rotated.kubeconfig', kubeconfig({ user: { token: 'rotated' } }))
    await clock.advance(10_001)
    expect((await credentials.current()).headers).toEqual({ authorization: 'Bearer rotated' })
  })

  test('caught while it is being written: what was read before still serves', async () => {
    const path = write('half.kubeconfig', kubeconfig())
    const credentials = open(path)
    await credentials.current()
    write('half.kubeconfig', '{"clusters": [')
    await clock.advance(10_001)
    expect((await credentials.current()).headers).toEqual({ authorization: 'Bearer one' })
    write('half.kubeconfig', kubeconfig({ user: { token: 'whole' } }))
    await clock.advance(10_001)
    expect((await credentials.current()).headers).toEqual({ authorization: 'Bearer whole' })
  })

  test('a plug-in runs once for all who ask, and again to renew', async () => {
    const counter = join(folder, 'runs')
    const plugin = write(
      'plugin.sh',
      `#!/bin/sh\necho run >> ${counter}\nn=$(grep -c run ${counter})\necho '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t'$n'"}}'\n`,
    )
    chmodSync(plugin, 0o755)
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin }
    const credentials = open(kubeconfig({ user: { exec } }))
    const tokens = await Promise.all([1, 2, 3].map(async () => (await credentials.current()).headers['authorization']))
    expect(tokens).toEqual(['Bearer t1', 'Bearer t1', 'Bearer t1'])
    const renewed = await credentials.current({ renew: true })
    expect(renewed.headers['authorization']).toBe('Bearer t2')
    expect(readFileSync(counter, 'utf8').trim().split('\n')).toHaveLength(2)
  })

  test('a plug-in that fails can be asked again', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: '/nowhere/plugin' }
    const credentials = open(kubeconfig({ user: { exec } }))
    await expect(credentials.current()).rejects.toBeInstanceOf(UnauthorizedError)
    await expect(credentials.current()).rejects.toMatchObject({ retryable: true })
  })
})

describe('credentials in a cluster', () => {
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  test('the service account of the pod, its token as it is rotated', async () => {
    vi.stubEnv('KUBERNETES_SERVICE_HOST', 'fd00::1')
    vi.stubEnv('KUBERNETES_SERVICE_PORT', '443')
    const account = join(folder, 'var/run/secrets/kubernetes.io/serviceaccount')
    mkdirSync(account, { recursive: true })
    writeFileSync(join(account, 'ca.crt'), 'CA')
    writeFileSync(join(account, 'token'), 'pod\n')
    const credentials = createCredentials({ kind: 'in-cluster', root: folder }, clock)
    expect(await credentials.current()).toEqual({
      server: 'https://[fd00::1]:443',
      headers: { authorization: 'Bearer pod' },
      tls: { ca: 'CA' },
      proxyUrl: undefined,
    })
    writeFileSync(join(account, 'token'), 'rotated\n')
    expect((await credentials.current({ renew: true })).headers).toEqual({ authorization: 'Bearer rotated' })
  })

  test('outside of one: one clear sentence', async () => {
    vi.stubEnv('KUBERNETES_SERVICE_HOST', '')
    vi.stubEnv('KUBERNETES_SERVICE_PORT', '')
    const credentials = createCredentials({ kind: 'in-cluster' }, clock)
    await expect(credentials.current()).rejects.toThrow('this is no pod of a cluster')
  })
})
