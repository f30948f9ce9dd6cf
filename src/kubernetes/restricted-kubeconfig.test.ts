import { describe, expect, test } from 'vitest'
import { base64, hostileKubeconfigs, kubeconfig, pair, server, withServer } from '../../test/helpers/kubeconfigs.ts'
import { ClusterConfigurationError } from './cluster-errors.ts'
import { parseRestrictedKubeconfig } from './restricted-kubeconfig.ts'

describe('a kubeconfig over the API is accepted with', () => {
  test('a token', () => {
    expect(parseRestrictedKubeconfig(kubeconfig())).toEqual({ server, token: 't0ken', refuse: 'local' })
  })

  test('an authority and a client certificate', () => {
    const text = kubeconfig({
      cluster: { 'certificate-authority-data': base64(pair.certificate) },
      user: { 'client-certificate-data': base64(pair.certificate), 'client-key-data': base64(pair.key) },
    })
    expect(parseRestrictedKubeconfig(text)).toEqual({
      refuse: 'local',
      server,
      ca: pair.certificate,
      certificate: pair.certificate,
      key: pair.key,
    })
  })

  test('several contexts, one of them chosen', () => {
    const text = kubeconfig({
      root: {
        clusters: [
          { name: 'c', cluster: { server } },
          { name: 'd', cluster: { server: 'https://other.example.com' } },
        ],
        contexts: [
          { name: 'x', context: { cluster: 'c', user: 'u' } },
          { name: 'y', context: { cluster: 'd', user: 'u', namespace: 'team-a' } },
        ],
      },
    })
    expect(parseRestrictedKubeconfig(text, { context: 'y' }).server).toBe('https://other.example.com')
  })

  test('a server behind a path, a private address, JSON, and `insecure-skip-tls-verify: false`', () => {
    for (const address of [
      'https://rancher.example.com/k8s/clusters/c-1',
      'https://10.0.0.1:6443',
      'https://[fd00::1]:6443',
    ]) {
      expect(parseRestrictedKubeconfig(kubeconfig({ cluster: { server: address } })).server).toBe(address)
    }
    const verified = kubeconfig({ cluster: { 'insecure-skip-tls-verify': false } })
    expect(parseRestrictedKubeconfig(verified).server).toBe(server)
  })
})

describe('a kubeconfig over the API, on a machine that somebody develops on', () => {
  test('may name this machine, never where clouds keep metadata', () => {
    const refuse = 'link-local'
    for (const address of ['https://127.0.0.1:6443', 'https://localhost:6443', 'https://[::1]:6443']) {
      expect(parseRestrictedKubeconfig(withServer(address), { refuse })).toMatchObject({ server: address, refuse })
    }
    for (const address of ['https://169.254.169.254', 'https://[fe80::1]', 'https://metadata.google.internal']) {
      expect(() => parseRestrictedKubeconfig(withServer(address), { refuse })).toThrow(/link-local/)
    }
  })
})

describe('a kubeconfig over the API is refused with', () => {
  test.each(hostileKubeconfigs)('%s', (_, text) => {
    expect(() => parseRestrictedKubeconfig(text)).toThrow(ClusterConfigurationError)
  })

  test('a message that holds none of its secrets', () => {
    for (const text of [kubeconfig({ user: { token: 'hunter2 hunter2' } }), `token: "hunter2\n${kubeconfig()}`]) {
      try {
        parseRestrictedKubeconfig(text)
        expect.unreachable()
      } catch (error) {
        expect(String(error)).not.toContain('hunter2')
      }
    }
  })
})
