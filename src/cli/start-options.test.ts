import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseStartOptions } from './start-options.ts'
import type { StartFlags } from './start-options.ts'
import { UsageError } from './usage-error.ts'

const databaseUrl = 'postgres://sluice:secret@db.example:5432/sluice'
let folder: string
let kubeconfig: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-options-'))
  kubeconfig = join(folder, 'kubeconfig')
  await writeFile(kubeconfig, '')
})
afterAll(() => rm(folder, { recursive: true }))

describe('what start does without being told', () => {
  test('everything in one process, on this machine only, in .sluice', () => {
    expect(parseStartOptions({}, {})).toEqual({
      role: 'all',
      host: '127.0.0.1',
      loopback: true,
      port: 8080,
      dataDir: resolve('.sluice'),
      databaseUrl: undefined,
      kubeconfig: undefined,
      inCluster: false,
      basePaths: [],
      poolMax: 20,
      slots: 10,
      platformTenant: 'default',
      demo: false,
    })
  })

  test('a database of its own admits a bigger pool', () => {
    expect(parseStartOptions({}, { DATABASE_URL: databaseUrl })).toMatchObject({
      databaseUrl,
      poolMax: 50,
      platformTenant: 'platform',
    })
  })

  test('the cluster that it runs in, whatever KUBECONFIG says, with its control planes', () => {
    const basePath = ['/orgs/{org}', '/projects/{project}']
    expect(parseStartOptions({ inCluster: true, basePath }, { KUBECONFIG: kubeconfig })).toMatchObject({
      kubeconfig: undefined,
      inCluster: true,
      basePaths: basePath,
    })
  })

  test('an empty variable is none', () => {
    const env = { DATABASE_URL: '', KUBECONFIG: '', SLUICE_PORT: '', SLUICE_DATA_DIR: '' }
    expect(parseStartOptions({}, env)).toEqual(parseStartOptions({}, {}))
  })
})

describe('flags and variables', () => {
  test('a flag wins over its variable', () => {
    const env = { SLUICE_PORT: '9000', SLUICE_DATA_DIR: '/var/a', KUBECONFIG: '/nowhere' }
    expect(parseStartOptions({}, { ...env, KUBECONFIG: '' })).toMatchObject({ port: 9000, dataDir: '/var/a' })
    expect(parseStartOptions({ port: '9001', data: '/var/b', kubeconfig }, env)).toMatchObject({
      port: 9001,
      dataDir: '/var/b',
      kubeconfig: { path: kubeconfig },
    })
  })

  test('KUBECONFIG may list files that do not all exist, as for kubectl', () => {
    const path = `/nowhere${delimiter}${kubeconfig}`
    expect(parseStartOptions({ context: 'staging' }, { KUBECONFIG: path }).kubeconfig).toEqual({
      path,
      context: 'staging',
    })
  })

  test.each([
    ['localhost', true],
    ['127.0.0.2', true],
    ['::1', true],
    ['0.0.0.0', false],
    ['192.168.0.7', false],
    ['127.0.0.1.example.com', false],
  ])('%s is loopback: %s', (host, loopback) => {
    expect(parseStartOptions({ host }, {}).loopback).toBe(loopback)
  })
})

test('proxies are addresses and networks', () => {
  expect(parseStartOptions({}, { SLUICE_TRUST_PROXY: '10.0.0.0/8, ::1' }).trustProxy).toEqual(['10.0.0.0/8', '::1'])
  expect(parseStartOptions({}, {})).not.toHaveProperty('trustProxy')
})

test('hosts of repositories are hosts, as a URL has them', () => {
  const hosts = (SLUICE_GIT_HOSTS: string) => parseStartOptions({}, { SLUICE_GIT_HOSTS }).gitHosts
  expect(hosts('Git.corp.example, 10.0.0.5:3000')).toEqual(['git.corp.example', '10.0.0.5:3000'])
  expect(hosts('')).toBeUndefined()
  for (const wrong of ['https://git.corp', 'git.corp/x', 'a b', 'user@git.corp', '', '*']) {
    expect(() => hosts(`git.corp,${wrong}`)).toThrow(/^SLUICE_GIT_HOSTS must list hosts/)
  }
})

describe('a mistake is one sentence', () => {
  test.each<[string, StartFlags, NodeJS.ProcessEnv, RegExp]>([
    ['port that is no number', { port: '80a' }, {}, /^--port must be a port between 0 and 65535, not "80a"\.$/],
    ['port out of range', {}, { SLUICE_PORT: '70000' }, /^SLUICE_PORT must be .* not "70000"\.$/],
    ['unknown role', { role: 'both' }, {}, /^--role must be all, api or worker, not "both"\.$/],
    ['role alone without a database', { role: 'api' }, {}, /^--role api needs DATABASE_URL: .* could not share it\.$/],
    ['empty host', { host: '' }, {}, /^--host must be an address/],
    ['empty folder', { data: '' }, {}, /^--data must not be empty\.$/],
    ['context without a kubeconfig', { context: 'a' }, {}, /^--context chooses a context of a kubeconfig: /],
    ['two clusters', { inCluster: true, kubeconfig: 'a' }, {}, /^--in-cluster takes the cluster that it runs in: /],
    ['a path on the simulated cluster', { basePath: ['/a'] }, {}, /^--base-path is for a cluster of your own: /],
    [
      'kubeconfig that is not there',
      { kubeconfig: '/nowhere' },
      {},
      /^--kubeconfig names "\/nowhere", and there is no/,
    ],
    ['KUBECONFIG that is not there', {}, { KUBECONFIG: '/nowhere' }, /^KUBECONFIG names "\/nowhere", and there is no/],
    [
      'pool below its minimum',
      { poolMax: '4' },
      {},
      /^--pool-max must be .* between 5 and 80 \(the embedded .*, not "4"\.$/,
    ],
    ['pool beyond the embedded server', { poolMax: '100' }, {}, /admits 100 connections in all\), not "100"\.$/],
    [
      'more slots than a process has',
      { slots: '11' },
      {},
      /^--slots must be .* 1 and 10, not "11": a worker process runs/,
    ],
    ['no slot', { slots: '0' }, {}, /^--slots must be/],
    ['platform tenant that is none', {}, { SLUICE_PLATFORM_TENANT: 'A B' }, /^SLUICE_PLATFORM_TENANT must be a tenant/],
    ['proxy by name', {}, { SLUICE_TRUST_PROXY: '10.0.0.0/8, proxy' }, /^SLUICE_TRUST_PROXY must .* not "proxy"\.$/],
    ['network too narrow', {}, { SLUICE_TRUST_PROXY: '10.0.0.0/33' }, /not "10\.0\.0\.0\/33"\.$/],
    ['another database', {}, { DATABASE_URL: 'mysql://x/y' }, /^DATABASE_URL must look like postgres:/],
  ])('%s', (_name, flags, env, message) => {
    expect(() => parseStartOptions(flags, env)).toThrow(UsageError)
    expect(() => parseStartOptions(flags, env)).toThrow(message)
  })

  test.each<[string, StartFlags, NodeJS.ProcessEnv, RegExp]>([
    ['demo for others than this machine', { demo: true, host: '0.0.0.0' }, {}, /^--demo lets everybody in/],
    ['demo on a real database', { demo: true }, { DATABASE_URL: databaseUrl }, /^--demo lets everybody in/],
    [
      'demo beside a provider',
      { demo: true, oidcIssuer: 'https://id.example.com', oidcClientId: 'c' },
      {},
      /^--demo brings its own/,
    ],
    ['a client without a provider', { oidcClientId: 'c' }, {}, /^--oidc-client-id belongs to an identity provider/],
    ['an audience without a provider', {}, { SLUICE_OIDC_AUDIENCE: 'a' }, /^--oidc-audience belongs to an/],
    ['a provider for nothing', { oidcIssuer: 'https://id.example.com' }, {}, /^--oidc-issuer needs --oidc-client-id/],
    [
      'a provider over http',
      { oidcIssuer: 'http://id.example.com', oidcAudience: 'a' },
      {},
      /^--oidc-issuer must be an https/,
    ],
    [
      'a provider with a query',
      { oidcIssuer: 'https://id.example.com?a', oidcAudience: 'a' },
      {},
      /^--oidc-issuer must be/,
    ],
    [
      'a login that cannot come back',
      { oidcIssuer: 'https://id.example.com', oidcClientId: 'c', host: '0.0.0.0' },
      {},
      /^--oidc-client-id needs --public-url/,
    ],
    [
      'a public address over http',
      { publicUrl: 'http://sluice.example.com' },
      {},
      /^--public-url must be where browsers/,
    ],
    [
      'a public address with a path',
      { publicUrl: 'https://example.com/sluice' },
      {},
      /^--public-url must be where browsers/,
    ],
    [
      'a signature by a shared secret',
      { oidcIssuer: 'https://id.example.com', oidcAudience: 'a' },
      { SLUICE_OIDC_ALGORITHMS: 'RS256,HS256' },
      /^SLUICE_OIDC_ALGORITHMS takes .*, not "HS256"\.$/,
    ],
  ])('%s', (_name, flags, env, message) => {
    expect(() => parseStartOptions(flags, env)).toThrow(message)
  })

  test('an identity provider, from flags and variables', () => {
    const flags = {
      oidcIssuer: 'https://id.example.com/realm',
      publicUrl: 'https://sluice.example.com/',
      host: '0.0.0.0',
    }
    const env = {
      SLUICE_OIDC_CLIENT_ID: 'console',
      SLUICE_OIDC_CLIENT_SECRET: 'hidden',
      SLUICE_OIDC_AUDIENCE: 'api',
      SLUICE_OIDC_PRINCIPAL_CLAIM: 'email',
      SLUICE_OIDC_TENANT_CLAIM: 'org',
      SLUICE_OIDC_ALGORITHMS: 'ES256 PS256',
    }
    expect(parseStartOptions(flags, env)).toMatchObject({
      publicUrl: 'https://sluice.example.com',
      oidc: {
        issuer: 'https://id.example.com/realm',
        client: { id: 'console', secret: 'hidden' },
        audience: 'api',
        principalClaim: 'email',
        tenantClaim: 'org',
        algorithms: ['ES256', 'PS256'],
      },
    })
  })

  test('a wrong DATABASE_URL is not repeated: it may hold a password', () => {
    expect(() => parseStartOptions({}, { DATABASE_URL: 'secret' })).toThrow(/^(?!.*secret)/)
  })
})
