import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import Provider, { type Configuration, interactionPolicy } from 'oidc-provider'
import type { OidcSettings } from '../../identity/oidc/oidc-settings.ts'
import { demoUsers, type DemoUser } from './demo-users.ts'
import { loginPage, logoutPage } from './demo-pages.ts'
import { createProviderMemory } from './provider-memory.ts'

export interface DemoProviderOptions {
  /** 0 takes a free one. @default 0 */
  readonly port?: number
  /** The name in its addresses; it listens on the loopback whatever this is. @default '127.0.0.1' */
  readonly host?: '127.0.0.1' | 'localhost'
  /** Private keys (RSA or EC) that it signs with. @default one new RSA key */
  readonly keys?: readonly JWK[]
  /** @default the demo's */
  readonly users?: readonly DemoUser[]
  /** Further addresses that it sends browsers back to. @default only the loopback's, on any port */
  readonly callbacks?: readonly string[]
}

export interface DemoProvider {
  readonly issuer: string
  /** What Sluice is told about it. */
  readonly settings: OidcSettings & { readonly audience: string }
  /** The client of a program without a person. */
  readonly machine: { readonly id: string; readonly secret: string }
  stop(): Promise<void>
}

const audience = 'https://sluice.dev/api'
const loopbackCallbacks = ['http://127.0.0.1/login/callback', 'http://localhost/login/callback']

/**
 * A real OpenID Connect provider (npm `oidc-provider`) on the loopback, whose people have no passwords: for `--demo` and for
 * tests, never for anybody else's eyes. It forgets everything when it stops.
 */
export async function startDemoProvider(options: DemoProviderOptions = {}): Promise<DemoProvider> {
  const host = options.host ?? '127.0.0.1'
  const users = options.users ?? demoUsers
  const clientSecret = randomBytes(32).toString('base64url')
  const machine = { id: 'demo-machine', secret: randomBytes(32).toString('base64url') }
  const callbacks = [...loopbackCallbacks, ...(options.callbacks ?? [])]
  const keys = options.keys ?? [await makeKey()]
  let answer: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => response.end()
  const server = createServer((request, response) => answer(request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  // A TCP server's address is never a pipe's string.
  const issuer = `http://${host}:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, configure({ users, keys, clientSecret, machine, callbacks }))
  const callback = provider.callback()
  const interact = createInteraction(provider, users)
  answer = (request, response) => {
    const isInteraction = request.url?.startsWith('/interaction/') === true
    if (!isInteraction) void callback(request, response)
    else interact(request, response).catch(() => response.writeHead(400).end('Begin again at the console.'))
  }
  return {
    issuer,
    settings: {
      issuer,
      client: { id: 'sluice-console', secret: clientSecret },
      scopes: 'openid profile groups',
      audience,
    },
    machine,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function makeKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = await exportJWK(privateKey)
  const kid = createHash('sha256').update(String(jwk.n)).digest('base64url').slice(0, 16)
  return { ...jwk, kid, alg: 'RS256', use: 'sig' }
}

interface Parts {
  readonly users: readonly DemoUser[]
  readonly keys: readonly JWK[]
  readonly clientSecret: string
  readonly callbacks: readonly string[]
  readonly machine: DemoProvider['machine']
}

function configure({ users, keys, clientSecret, callbacks, machine }: Parts): Configuration {
  const groupsOf = (name: string) => users.find((user) => user.name === name)?.groups ?? []
  return {
    adapter: createProviderMemory(),
    jwks: { keys: [...keys] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    clients: [
      {
        client_id: 'sluice-console',
        client_secret: clientSecret,
        // A native client's redirect to the loopback may be on any port (RFC 8252).
        application_type: 'native',
        redirect_uris: callbacks,
        post_logout_redirect_uris: callbacks.map((uri) => uri.replace('login/callback', '')),
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
      {
        client_id: machine.id,
        client_secret: machine.secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ['openid', 'profile', 'groups'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    // Everything in the ID token: the console needs no second request.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      rpInitiatedLogout: {
        logoutSource: (ctx, form) => {
          ctx.body = logoutPage(form)
        },
      },
      resourceIndicators: {
        getResourceServerInfo: () => ({
          scope: '',
          audience,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 3_600,
          jwt: { sign: { alg: 'RS256' } },
        }),
        defaultResource: () => undefined,
      },
    },
    extraTokenClaims: (_ctx, token) => ({
      groups: groupsOf('accountId' in token ? token.accountId : machine.id),
    }),
    findAccount: (_ctx, sub) => {
      const user = users.find(({ name }) => name === sub)
      return (
        user && {
          accountId: sub,
          claims: () => ({ sub, name: user.title, preferred_username: sub, groups: [...user.groups] }),
        }
      )
    },
    loadExistingGrant: async (ctx) => {
      const { client, session, provider } = ctx.oidc
      const grant = new provider.Grant({ clientId: client?.clientId, accountId: session?.accountId })
      grant.addOIDCScope('openid profile groups')
      await grant.save()
      return grant
    },
    interactions: { policy: loginOnly(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    ttl: {
      AccessToken: 3_600,
      AuthorizationCode: 60,
      Grant: 3_600,
      IdToken: 600,
      Interaction: 600,
      Session: 3_600,
      ClientCredentials: 3_600,
    },
  }
}

/** Nobody is asked whether the console may know them: it is the program that they have started themselves. */
function loginOnly() {
  const policy = interactionPolicy.base()
  policy.remove('consent')
  return policy
}

/** The login page: a button for each user, which signs in as them. */
function createInteraction(provider: Provider, users: readonly DemoUser[]) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { uid, prompt } = await provider.interactionDetails(request, response)
    if (request.method === 'POST') {
      const accountId = new URL(request.url ?? '/', provider.issuer).searchParams.get('as') ?? ''
      if (prompt.name !== 'login' || !users.some(({ name }) => name === accountId)) throw new Error('nobody was chosen')
      await provider.interactionFinished(request, response, { login: { accountId } })
      return
    }
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    })
    response.end(loginPage(uid, users))
  }
}
