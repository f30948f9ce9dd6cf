import { createHmac, createPublicKey, sign as signBytes, type KeyObject } from 'node:crypto'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

/** What the forger has: everything that is public, and keys of their own. */
export interface Forge {
  readonly issuer: string
  readonly audience: string
  /** The provider's own keys, for what only the provider could have signed, and must be refused all the same. */
  readonly rsa: SigningKey
  readonly ec: SigningKey
  /** The forger's. */
  readonly otherRsa: SigningKey
  readonly otherEc: SigningKey
  /** Where the forger publishes a key set. */
  readonly keySetUrl: string
}

export interface SigningKey {
  readonly alg: 'RS256' | 'ES256'
  readonly kid: string
  readonly key: CryptoKey
  readonly privateJwk: JWK
  readonly publicJwk: JWK
}

export async function makeSigningKey(alg: 'RS256' | 'ES256', kid: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  // Published without its algorithm: what is believed is for whoever verifies to say.
  const named = { kid, use: 'sig' }
  return {
    alg,
    kid,
    key: privateKey,
    privateJwk: { ...(await exportJWK(privateKey)), ...named },
    publicJwk: { ...(await exportJWK(publicKey)), ...named },
  }
}

type Claims = Record<string, unknown>

/** A token of the provider's, as it should be; what is given replaces its claims and headers, undefined takes one away. */
export async function signToken(
  forge: Forge,
  claims: Claims = {},
  header: Claims = {},
  by = forge.rsa,
): Promise<string> {
  const payload = present({ ...genuineClaims(forge), ...claims })
  // What a forger writes there is not what the types allow.
  const protectedHeader = present({ alg: by.alg, kid: by.kid, typ: 'at+jwt', ...header }) as { alg: string }
  return new SignJWT(payload).setProtectedHeader(protectedHeader).sign(by.key)
}

function genuineClaims({ issuer, audience }: Forge): Claims {
  const now = Math.floor(Date.now() / 1_000)
  return { iss: issuer, aud: audience, sub: 'rita', groups: ['people'], iat: now, exp: now + 600 }
}

const present = (claims: Claims): Claims =>
  Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const seconds = (fromNow: number): number => Math.floor(Date.now() / 1_000) + fromNow

/** A token whose parts and signature are made by hand. */
function assemble(header: unknown, payload: unknown, signature: string | ((input: string) => Buffer)): string {
  const input = `${encode(header)}.${typeof payload === 'string' ? Buffer.from(payload).toString('base64url') : encode(payload)}`
  return `${input}.${typeof signature === 'string' ? signature : signature(input).toString('base64url')}`
}

const publicKeyOf = ({ publicJwk }: SigningKey): KeyObject => createPublicKey({ key: { ...publicJwk }, format: 'jwk' })
const hmac = (digest: string, secret: string | Buffer) => (input: string) =>
  createHmac(digest, secret).update(input).digest()

/** Each way to forge a token: really signed, or malformed. Every one must be refused. */
export const forgeries: Readonly<Record<string, (forge: Forge) => string | Promise<string>>> = {
  // No signature, or one of the wrong kind.
  'alg none, without a signature': (f) => assemble({ alg: 'none', typ: 'JWT' }, genuineClaims(f), ''),
  'alg none, with the key named': (f) => assemble({ alg: 'none', kid: f.rsa.kid }, genuineClaims(f), 'AA'),
  'alg nOnE': (f) => assemble({ alg: 'nOnE', kid: f.rsa.kid }, genuineClaims(f), 'AA'),
  'no alg at all': (f) => assemble({ kid: f.rsa.kid }, genuineClaims(f), 'AA'),
  'HS256 with the public key (PEM) as the secret': (f) =>
    assemble({ alg: 'HS256', kid: f.rsa.kid }, genuineClaims(f), hmac('sha256', pem(f.rsa))),
  'HS256 with the public key (DER) as the secret': (f) =>
    assemble(
      { alg: 'HS256', kid: f.rsa.kid },
      genuineClaims(f),
      hmac('sha256', publicKeyOf(f.rsa).export({ type: 'spki', format: 'der' })),
    ),
  'HS256 with the public JWK as the secret': (f) =>
    assemble({ alg: 'HS256', kid: f.rsa.kid }, genuineClaims(f), hmac('sha256', JSON.stringify(f.rsa.publicJwk))),
  'HS256 with the modulus as the secret': (f) =>
    assemble(
      { alg: 'HS256', kid: f.rsa.kid },
      genuineClaims(f),
      hmac('sha256', Buffer.from(String(f.rsa.publicJwk.n), 'base64url')),
    ),
  'HS512 with the public key': (f) =>
    assemble({ alg: 'HS512', kid: f.rsa.kid }, genuineClaims(f), hmac('sha512', pem(f.rsa))),
  'HS256 with an empty secret': (f) => assemble({ alg: 'HS256', kid: f.rsa.kid }, genuineClaims(f), hmac('sha256', '')),
  'RS512, which is not believed, by the right key': (f) =>
    assemble({ alg: 'RS512', kid: f.rsa.kid }, genuineClaims(f), (input) => signed('RSA-SHA512', input, f.rsa)),
  'RS256 that says it is PS256': (f) =>
    assemble({ alg: 'PS256', kid: f.rsa.kid }, genuineClaims(f), (input) => signed('RSA-SHA256', input, f.rsa)),
  'RS256 that says it is ES256': (f) =>
    assemble({ alg: 'ES256', kid: f.ec.kid }, genuineClaims(f), (input) => signed('RSA-SHA256', input, f.rsa)),
  'ES256 of zeros': (f) => assemble({ alg: 'ES256', kid: f.ec.kid }, genuineClaims(f), () => Buffer.alloc(64)),
  'ES256 in DER': (f) =>
    assemble({ alg: 'ES256', kid: f.ec.kid }, genuineClaims(f), (input) => signed('SHA256', input, f.ec)),

  // Somebody else's key.
  'another RSA key under the same name': (f) => signToken(f, {}, {}, { ...f.otherRsa, kid: f.rsa.kid }),
  'another EC key under the same name': (f) => signToken(f, {}, {}, { ...f.otherEc, kid: f.ec.kid }),
  'another key under the name of the other kind': (f) => signToken(f, {}, {}, { ...f.otherEc, kid: f.rsa.kid }),
  'a key that nobody published': (f) => signToken(f, {}, {}, f.otherRsa),
  'no key named': (f) => signToken(f, {}, { kid: undefined }),
  'a key named by a number': (f) => signToken(f, {}, { kid: 1 }),
  'a key named by a path': (f) => signToken(f, {}, { kid: '../../../dev/null' }, f.otherRsa),
  'a key named by a statement': (f) => signToken(f, {}, { kid: `' union select 'x` }, f.otherRsa),

  // A key that comes along.
  'the forger’s key in jwk': (f) => signToken(f, {}, { jwk: f.otherRsa.publicJwk }, { ...f.otherRsa, kid: f.rsa.kid }),
  'the forger’s key set in jku': (f) => signToken(f, {}, { jku: f.keySetUrl }, f.otherRsa),
  'the forger’s certificate in x5u': (f) => signToken(f, {}, { x5u: f.keySetUrl }, f.otherRsa),
  'a certificate in x5c': (f) => signToken(f, {}, { x5c: ['MIIB'] }, f.otherRsa),
  'the provider’s own key in jwk': (f) => signToken(f, {}, { jwk: f.rsa.publicJwk }),
  'the provider’s own key set in jku': (f) => signToken(f, {}, { jku: `${f.issuer}/jwks` }),
  'an extension that must be understood': (f) =>
    assemble({ alg: 'RS256', kid: f.rsa.kid, crit: ['exp'], exp: 1 }, genuineClaims(f), (input) =>
      signed('RSA-SHA256', input, f.rsa),
    ),
  'an unencoded payload (b64)': (f) =>
    assemble({ alg: 'RS256', kid: f.rsa.kid, b64: false, crit: ['b64'] }, genuineClaims(f), (input) =>
      signed('RSA-SHA256', input, f.rsa),
    ),

  // What was signed for something else.
  'a logout token': (f) => signToken(f, {}, { typ: 'logout+jwt' }),
  'a proof of possession': (f) => signToken(f, {}, { typ: 'dpop+jwt' }),
  'an ID token for the console': (f) => signToken(f, { aud: 'sluice-console', nonce: 'n' }, { typ: 'JWT' }),
  'another audience': (f) => signToken(f, { aud: 'https://elsewhere.example/api' }),
  'an audience that begins like ours': (f) => signToken(f, { aud: `${f.audience}/more` }),
  'a list of other audiences': (f) => signToken(f, { aud: ['a', 'b'] }),
  'no audience': (f) => signToken(f, { aud: undefined }),
  'another issuer': (f) => signToken(f, { iss: 'https://elsewhere.example' }),
  'an issuer with a slash more': (f) => signToken(f, { iss: `${f.issuer}/` }),
  'no issuer': (f) => signToken(f, { iss: undefined }),
  'a token that is bound to a key': (f) => signToken(f, { cnf: { jkt: 'x' } }),

  // Times.
  'expired a minute ago': (f) => signToken(f, { exp: seconds(-60) }),
  'no end': (f) => signToken(f, { exp: undefined }),
  'an end in words': (f) => signToken(f, { exp: 'tomorrow' }),
  'an end in a text': (f) => signToken(f, { exp: String(seconds(600)) }),
  'not valid for another hour': (f) => signToken(f, { nbf: seconds(3_600) }),
  'made in an hour': (f) => signToken(f, { iat: seconds(3_600), exp: seconds(7_200) }),
  'made at no time': (f) => signToken(f, { iat: undefined }),

  // Nobody.
  'no subject': (f) => signToken(f, { sub: undefined }),
  'an empty subject': (f) => signToken(f, { sub: '' }),
  'a subject that is a list': (f) => signToken(f, { sub: ['rita'] }),
  'a subject that is no name': (f) => signToken(f, { sub: 'rita; admin' }),
  'groups that are no list of names': (f) => signToken(f, { groups: [{ admin: true }] }),
  'somebody without a role': (f) => signToken(f, { sub: 'mallory', groups: [] }),

  // Tampered with.
  'a claim changed after the signature': async (f) =>
    replacePart(await signToken(f), 1, encode({ ...genuineClaims(f), sub: 'adam' })),
  'a header changed after the signature': async (f) =>
    replacePart(await signToken(f), 0, encode({ alg: 'RS256', kid: f.rsa.kid, typ: 'JWT' })),
  'the signature of another token': async (f) =>
    replacePart(await signToken(f), 2, (await signToken(f, { sub: 'adam' })).split('.')[2] ?? ''),
  'half a signature': async (f) => (await signToken(f)).slice(0, -100),
  'a flipped bit in the signature': async (f) => {
    const [header = '', payload = '', signature = ''] = (await signToken(f)).split('.')
    const bytes = Buffer.from(signature, 'base64url')
    bytes.writeUInt8(bytes.readUInt8(10) ^ 1, 10)
    return `${header}.${payload}.${bytes.toString('base64url')}`
  },
  'no signature left': async (f) => replacePart(await signToken(f), 2, ''),

  // No token.
  'two parts': async (f) => (await signToken(f)).split('.').slice(0, 2).join('.'),
  'four parts': async (f) => `${await signToken(f)}.AA`,
  'an encrypted one': () => 'eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA',
  'padding in base64': async (f) => (await signToken(f)).replace('.', '=.'),
  'a payload that is no JSON': (f) =>
    assemble({ alg: 'RS256', kid: f.rsa.kid }, 'sub=rita', (input) => signed('RSA-SHA256', input, f.rsa)),
  'a payload that is a list': (f) =>
    assemble({ alg: 'RS256', kid: f.rsa.kid }, [genuineClaims(f)], (input) => signed('RSA-SHA256', input, f.rsa)),
  'a header that is no JSON': async (f) => replacePart(await signToken(f), 0, 'AAAA'),
  'one of 9,000 characters': (f) => signToken(f, { more: 'x'.repeat(6_500) }),
}

const pem = (key: SigningKey): string => publicKeyOf(key).export({ type: 'spki', format: 'pem' }).toString()

function signed(algorithm: string, input: string, { privateJwk }: SigningKey): Buffer {
  return signBytes(algorithm, Buffer.from(input), { key: { ...privateJwk }, format: 'jwk' })
}

function replacePart(token: string, index: number, part: string): string {
  return token
    .split('.')
    .map((standing, i) => (i === index ? part : standing))
    .join('.')
}
