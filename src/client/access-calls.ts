import { z } from 'zod'
import {
  type CreatedToken,
  createdTokenSchema,
  type RoleBinding,
  type RoleBindingPage,
  roleBindingPageSchema,
  type RoleBindingRequest,
  roleBindingSchema,
  type TokenPage,
  tokenPageSchema,
  type TokenRequest,
} from '../contract/identity.ts'
import type { Exchange } from './exchange.ts'

interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

interface PageOptions extends CallOptions {
  readonly pageSize?: number | undefined
  readonly pageToken?: string | undefined
}

/** Who may come in, and what they may do: part of the client. Every method throws as the others do. */
export interface AccessCalls {
  /** Makes an API token. The answer alone holds it. */
  createToken(token: TokenRequest, options?: CallOptions): Promise<CreatedToken>
  /** Newest first; one's own, for an admin everybody's of the tenant. */
  listTokens(options?: PageOptions): Promise<TokenPage>
  /** Ends a token: within 5 s nobody is let in with it, and what it had open is closed. */
  revokeToken(tokenId: string, options?: CallOptions): Promise<void>
  listRoleBindings(options?: PageOptions): Promise<RoleBindingPage>
  /** Gives a role; again changes where it holds. */
  grantRole(binding: RoleBindingRequest, options?: CallOptions): Promise<RoleBinding>
  withdrawRole(binding: RoleBindingRequest, options?: CallOptions): Promise<void>
}

export function createAccessCalls(exchange: Exchange): AccessCalls {
  return {
    createToken: (body, { signal } = {}) =>
      exchange.request(createdTokenSchema, { method: 'POST', path: '/tokens', body, signal }),
    listTokens: ({ pageSize, pageToken, signal } = {}) =>
      exchange.request(tokenPageSchema, {
        path: '/tokens',
        query: { page_size: pageSize, page_token: pageToken },
        signal,
      }),
    revokeToken: async (tokenId, { signal } = {}) => {
      await exchange.request(z.unknown(), { method: 'DELETE', path: `/tokens/${encodeURIComponent(tokenId)}`, signal })
    },
    listRoleBindings: ({ pageSize, pageToken, signal } = {}) =>
      exchange.request(roleBindingPageSchema, {
        path: '/role-bindings',
        query: { page_size: pageSize, page_token: pageToken },
        signal,
      }),
    grantRole: (body, { signal } = {}) =>
      exchange.request(roleBindingSchema, { method: 'POST', path: '/role-bindings', body, signal }),
    withdrawRole: async ({ principal = '', group, role }, { signal } = {}) => {
      const whose = group === undefined ? encodeURIComponent(principal) : `groups/${encodeURIComponent(group)}`
      const path = `/role-bindings/${whose}/${role}`
      await exchange.request(z.unknown(), { method: 'DELETE', path, signal })
    },
  }
}
