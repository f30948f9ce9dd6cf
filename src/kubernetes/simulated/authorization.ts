import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { RequestTarget } from './api-request.ts'
import { badRequest, qualifiedName, StatusError, unauthorized } from './status-error.ts'

/** What a token may do; every list must hold the request's value or `*`. */
export interface SimulatedRule {
  readonly verbs: readonly string[]
  readonly apiGroups: readonly string[]
  /** Plurals; subresources as `projects/status`. */
  readonly resources: readonly string[]
  /** @default every namespace and what has none */
  readonly namespaces?: readonly string[]
  /** @default every name */
  readonly resourceNames?: readonly string[]
}

export interface SimulatedToken {
  readonly token: string
  readonly user: string
  readonly groups?: readonly string[]
  /** Absent: everything is allowed. */
  readonly rules?: readonly SimulatedRule[]
}

export interface User {
  readonly name: string
  readonly groups: readonly string[]
  /** Undefined: an administrator. */
  readonly rules: readonly SimulatedRule[] | undefined
}

/** What is asked of the rules: any verb, also those that no request has. */
export type AskedAccess = Omit<RequestTarget, 'version' | 'verb'> & { readonly verb: string }

/** Bearer tokens, and what their owners may do. */
export class Authorizer {
  readonly #tokens: readonly { readonly bytes: Buffer; readonly user: User }[]

  constructor(tokens: readonly SimulatedToken[]) {
    this.#tokens = tokens.map(({ token, user, groups, rules }) => ({
      bytes: Buffer.from(token),
      user: { name: user, groups: [...(groups ?? []), 'system:authenticated'], rules },
    }))
  }

  authenticate(headers: IncomingHttpHeaders): User {
    const sent = Buffer.from(/^Bearer\s+(\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? '')
    for (const { bytes, user } of this.#tokens) {
      if (bytes.length === sent.length && timingSafeEqual(bytes, sent)) return this.#impersonate(user, headers)
    }
    throw unauthorized()
  }

  /** An administrator may act as another user: one that has a token, or one who may do nothing. */
  #impersonate(user: User, headers: IncomingHttpHeaders): User {
    const name = headers['impersonate-user']
    if (typeof name !== 'string') {
      const strange = Object.keys(headers).find((header) => header.startsWith('impersonate-'))
      if (strange !== undefined) throw badRequest(`${strange} needs impersonate-user`)
      return user
    }
    this.require(user, { verb: 'impersonate', group: '', resource: 'users', subresource: '', namespace: '', name })
    const known = this.#tokens.find((token) => token.user.name === name)?.user
    return known ?? { name, groups: ['system:authenticated'], rules: [] }
  }

  require(user: User, target: AskedAccess): void {
    if (mayDo(user, target)) return
    const { group, resource, subresource, namespace, name, verb } = target
    const scope = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`
    const full = subresource === '' ? resource : `${resource}/${subresource}`
    const shown = name === '' ? '' : ` ${JSON.stringify(name)}`
    throw new StatusError({
      code: 403,
      reason: 'Forbidden',
      message: `${qualifiedName({ group, plural: resource })}${shown} is forbidden: User ${JSON.stringify(user.name)} cannot ${verb} resource ${JSON.stringify(full)} in API group ${JSON.stringify(group)} ${scope}`,
      details: { ...(name === '' ? {} : { name }), ...(group === '' ? {} : { group }), kind: resource },
    })
  }

  /** For what is no resource and belongs to administrators alone. */
  requireAdmin(user: User, path: string): void {
    if (user.rules === undefined) return
    throw new StatusError({
      code: 403,
      reason: 'Forbidden',
      message: `forbidden: User ${JSON.stringify(user.name)} cannot get path ${JSON.stringify(path)}`,
      details: {},
    })
  }
}

export function mayDo(user: User, target: AskedAccess): boolean {
  if (user.rules === undefined) return true
  const resource = target.subresource === '' ? target.resource : `${target.resource}/${target.subresource}`
  return user.rules.some(
    (rule) =>
      covers(rule.verbs, target.verb) &&
      covers(rule.apiGroups, target.group) &&
      covers(rule.resources, resource) &&
      (rule.namespaces === undefined || covers(rule.namespaces, target.namespace)) &&
      (rule.resourceNames === undefined || covers(rule.resourceNames, target.name)),
  )
}

function covers(allowed: readonly string[], value: string): boolean {
  return allowed.includes('*') || allowed.includes(value)
}
