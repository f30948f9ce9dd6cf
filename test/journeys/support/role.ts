import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type { StartOptions } from '../../../src/main.ts'
import type { PlatformSettings } from '../../../src/platform/create-platform.ts'
import { connectApi, type Api } from './api.ts'
import { type Program, startProgram } from './program.ts'
import type { DevelopmentPrincipal } from './sluice-process.ts'

export interface RoleOptions {
  readonly role: 'all' | 'api' | 'worker'
  readonly databaseUrl: string
  /** YAML, or a path. */
  readonly kubeconfig: string
  /** What JSON can hold of `StartOptions.platform`. */
  readonly platform?: PlatformSettings
  readonly publishEvents?: StartOptions['publishEvents']
  readonly gitHosts?: readonly string[]
}

export interface RoleProcess extends Program {
  as(principal: DevelopmentPrincipal): Api
}

const token = () => randomBytes(32).toString('base64url')
const devTokens = { requester: token(), approver: token(), admin: token() }

/** A process with one role, as a deployment runs several on one database. All know the same principals. */
export async function startRole(options: RoleOptions): Promise<RoleProcess> {
  const script = fileURLToPath(new URL('role-process.ts', import.meta.url))
  const settings = { ...options, poolMax: 10, simulated: true, devTokens }
  const program = await startProgram({ args: [script, JSON.stringify(settings)], ready: /^ready on .*\n/m })
  const url = /^ready on (\S*)$/m.exec(program.output())?.[1] ?? ''
  return { ...program, as: (principal) => connectApi(url, devTokens[principal]) }
}
