import { stringify } from 'yaml'
import { makeCertificate } from '../../src/kubernetes/simulated/certificate.ts'

/** A client certificate and its key. */
export const pair = makeCertificate(['user.example.com'], Date.now())
const other = makeCertificate(['other.example.com'], Date.now())
export const base64 = (text: string): string => Buffer.from(text).toString('base64')

export interface KubeconfigParts {
  readonly cluster?: Record<string, unknown>
  readonly user?: Record<string, unknown>
  readonly context?: Record<string, unknown>
  readonly root?: Record<string, unknown>
}

export const server = 'https://k8s.example.com:6443'

/** A kubeconfig that is taken, unless its parts make it one that is not. */
export function kubeconfig({ cluster, user, context, root }: KubeconfigParts = {}): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, ...cluster } }],
    users: [{ name: 'u', user: user ?? { token: 't0ken' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', ...context } }],
    'current-context': 'x',
    ...root,
  })
}

const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: '/bin/sh', args: ['-c', 'id > /tmp/pwned'] }
export const withServer = (address: string): string => kubeconfig({ cluster: { server: address } })

/** What each does, and its text. */
export const hostileKubeconfigs: readonly (readonly [string, string])[] = [
  ['exec runs a program', kubeconfig({ user: { exec } })],
  ['exec beside a token', kubeconfig({ user: { token: 't', exec } })],
  [
    'exec in a user that the context does not use',
    kubeconfig({
      root: {
        users: [
          { name: 'u', user: { token: 't' } },
          { name: 'v', user: { exec } },
        ],
      },
    }),
  ],
  [
    'auth-provider',
    kubeconfig({ user: { 'auth-provider': { name: 'oidc', config: { 'idp-issuer-url': 'http://169.254.169.254' } } } }),
  ],
  [
    'auth-provider with a command',
    kubeconfig({ user: { 'auth-provider': { name: 'gcp', config: { 'cmd-path': '/bin/sh' } } } }),
  ],
  [
    'authProvider, as the client library writes it',
    kubeconfig({ user: { token: 't', authProvider: { name: 'exec' } } }),
  ],
  ['token from a file', kubeconfig({ user: { 'token-file': '/var/run/secrets/kubernetes.io/serviceaccount/token' } })],
  ['tokenFile, as the Go library writes it', kubeconfig({ user: { tokenFile: '/etc/passwd' } })],
  [
    'certificate from a file',
    kubeconfig({ user: { 'client-certificate': '/etc/ssl/a.crt', 'client-key': '/etc/ssl/a.key' } }),
  ],
  ['authority from a file', kubeconfig({ cluster: { 'certificate-authority': '/etc/passwd' } })],
  ['a proxy', kubeconfig({ cluster: { 'proxy-url': 'http://attacker.example.com:3128' } })],
  ['a SOCKS proxy', kubeconfig({ cluster: { 'proxy-url': 'socks5://127.0.0.1:1080' } })],
  ['TLS that nobody verifies', kubeconfig({ cluster: { 'insecure-skip-tls-verify': true } })],
  ['TLS that nobody verifies, as text', kubeconfig({ cluster: { 'insecure-skip-tls-verify': 'true' } })],
  ['another name in the certificate', kubeconfig({ cluster: { 'tls-server-name': 'bank.example.com' } })],
  ['user name and password', kubeconfig({ user: { username: 'admin', password: 'admin' } })],
  ['impersonation', kubeconfig({ user: { token: 't', as: 'system:admin' } })],
  ['impersonated groups', kubeconfig({ user: { token: 't', 'as-groups': ['system:masters'] } })],
  ['plain http', withServer('http://k8s.example.com')],
  ['a file as server', withServer('file:///etc/passwd')],
  ['a Unix socket as server', withServer('unix:///var/run/docker.sock')],
  ['credentials in the address', withServer('https://admin:admin@k8s.example.com')],
  ['a query in the address', withServer('https://k8s.example.com/?x=')],
  ['an empty fragment in the address', withServer('https://k8s.example.com/#')],
  ['a path that walks up', withServer('https://k8s.example.com/a/../../b')],
  ['a backslash in the address', withServer('https://k8s.example.com\\@127.0.0.1')],
  ['a line break in the address', withServer('https://k8s.example.com\n.attacker.example.com')],
  ['no address', withServer('k8s.example.com:6443')],
  ['this machine', withServer('https://localhost:6443')],
  ['this machine with a dot', withServer('https://localhost.:6443')],
  ['a name below localhost', withServer('https://x.localhost:6443')],
  ['127.0.0.1', withServer('https://127.0.0.1:6443')],
  ['127.0.0.1 as a number', withServer('https://2130706433')],
  ['127.0.0.1 in octal and short', withServer('https://0177.1')],
  ['127.0.0.1 in hexadecimal', withServer('https://0x7f.0.0.1')],
  ['0.0.0.0', withServer('https://0.0.0.0:6443')],
  ['::1', withServer('https://[::1]:6443')],
  ['127.0.0.1 inside IPv6', withServer('https://[::ffff:127.0.0.1]')],
  ['127.0.0.1 inside NAT64', withServer('https://[64:ff9b::7f00:1]')],
  ['cloud metadata', withServer('https://169.254.169.254')],
  ['cloud metadata by name', withServer('https://metadata.google.internal')],
  ['cloud metadata by IPv6', withServer('https://[fd00:ec2::254]')],
  ['link-local IPv6', withServer('https://[fe80::1]')],
  [
    'a bad server in a cluster that is not used',
    kubeconfig({
      root: {
        clusters: [
          { name: 'c', cluster: { server } },
          { name: 'd', cluster: { server: 'https://127.0.0.1' } },
        ],
      },
    }),
  ],
  ['a token with a line break', kubeconfig({ user: { token: 'a\r\nImpersonate-User: admin' } })],
  ['a token with a space', kubeconfig({ user: { token: 'a b' } })],
  ['an empty token', kubeconfig({ user: { token: '' } })],
  ['no credentials', kubeconfig({ user: {} })],
  [
    'two kinds of credentials',
    kubeconfig({
      user: { token: 't', 'client-certificate-data': base64(pair.certificate), 'client-key-data': base64(pair.key) },
    }),
  ],
  ['a certificate without its key', kubeconfig({ user: { 'client-certificate-data': base64(pair.certificate) } })],
  [
    'a key of another certificate',
    kubeconfig({ user: { 'client-certificate-data': base64(pair.certificate), 'client-key-data': base64(other.key) } }),
  ],
  [
    'a certificate that is none',
    kubeconfig({ user: { 'client-certificate-data': base64('x'), 'client-key-data': base64('y') } }),
  ],
  ['an authority that is none', kubeconfig({ cluster: { 'certificate-authority-data': base64('/etc/passwd') } })],
  ['an authority that is no base64', kubeconfig({ cluster: { 'certificate-authority-data': '../../etc/passwd' } })],
  ['extensions', kubeconfig({ root: { extensions: [{ name: 'x', extension: {} }] } })],
  ['a context that does not exist', kubeconfig({ root: { 'current-context': 'y' } })],
  ['no current context', kubeconfig({ root: { 'current-context': undefined } })],
  ['a user that does not exist', kubeconfig({ context: { user: 'nobody' } })],
  [
    'two users of one name',
    kubeconfig({
      root: {
        users: [
          { name: 'u', user: { token: 'a' } },
          { name: 'u', user: { token: 'b' } },
        ],
      },
    }),
  ],
  ['the prototype as a key', `__proto__: { x: 1 }\n${kubeconfig()}`],
  ['a key twice', `${kubeconfig()}\nkind: Config\n`],
  ['aliases that multiply', `a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n${kubeconfig()}`],
  ['a tag', `x: !!js/function 'return 1'\n${kubeconfig()}`],
  ['several documents', `${kubeconfig()}---\n${kubeconfig()}`],
  ['no YAML', '{'],
  ['a list', '- a\n'],
  ['text', 'kubeconfig'],
  ['nothing', ''],
  ['a megabyte', `# ${'x'.repeat(1024 * 1024)}\n${kubeconfig()}`],
  [
    'two thousand clusters',
    kubeconfig({
      root: { clusters: Array.from({ length: 2000 }, (_, i) => ({ name: `c${i}`, cluster: { server } })) },
    }),
  ],
]
