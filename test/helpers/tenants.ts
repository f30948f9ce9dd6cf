import { createDatabase } from '../../src/database/database.ts'
import { roles } from '../../src/contract/identity.ts'
import { grantRole } from '../../src/identity/role-bindings.ts'
import { createToken, revokeToken } from '../../src/identity/tokens.ts'
import { startSluice, type RunningSluice, type StartOptions } from '../../src/main.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { noop } from './core.ts'
import { createTestDatabase } from './test-database.ts'

/** Whose role holds in the environment `test` only. */
const limited = ['requester-in-test', 'operator-in-test', 'approver-in-test', 'admin-in-test'] as const

/**
 * Who asks: a person with one role in `acme`, everywhere or in one environment, an admin of the tenant `other`, one of the
 * platform's, or somebody whose token has ended.
 */
export const askers = [...roles, ...limited, 'other', 'platform', 'revoked', 'expired'] as const
export type Asker = (typeof askers)[number]

export interface Tenants {
  readonly sluice: RunningSluice
  readonly databaseUrl: string
  readonly tokens: Readonly<Record<Asker, string>>
  /** The token's id, to revoke it by. */
  readonly tokenIds: Readonly<Record<Asker, string>>
  stop(): Promise<void>
}

/** An API process on a real database with two tenants, and a token for everybody in them. */
export async function startTenants(options: Partial<StartOptions> = {}): Promise<Tenants> {
  const { url: databaseUrl } = await createTestDatabase()
  const database = createDatabase({ url: databaseUrl, poolMax: 2, poolMin: 0 })
  const tokens: Partial<Record<Asker, string>> = {}
  const tokenIds: Partial<Record<Asker, string>> = {}
  const actor = 'founder'
  for (const asker of askers) {
    const tenant = asker === 'other' || asker === 'platform' ? asker : 'acme'
    const role = roles.find((name) => name === asker.replace('-in-test', '')) ?? 'admin'
    const environments = asker.endsWith('-in-test') ? ['test'] : undefined
    await grantRole(database, { tenant, principal: asker, role, environments, actor })
    const lifetimeMs = asker === 'expired' ? -1_000 : undefined
    const { token, shown } = await createToken(database, { tenant, actor, principal: asker, name: 'test', lifetimeMs })
    tokens[asker] = token
    tokenIds[asker] = shown.token_id
    if (asker === 'revoked') await revokeToken(database, { tenant, actor, tokenId: shown.token_id })
  }
  await database.stop()
  const sluice = await startSluice({
    role: 'api',
    databaseUrl,
    port: 0,
    poolMax: 5,
    operations: [noop],
    logger: createMemoryLogger(),
    ...options,
  })
  return {
    sluice,
    databaseUrl,
    // The loop has gone over every asker.
    tokens: tokens as Record<Asker, string>,
    tokenIds: tokenIds as Record<Asker, string>,
    stop: () => sluice.stop(),
  }
}
