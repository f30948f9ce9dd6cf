import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { connectApi, type Api } from './api.ts'
import { buildSluice, root } from './build.ts'
import { type Program, startProgram } from './program.ts'

export type DevelopmentPrincipal = 'requester' | 'approver' | 'admin'

/** The whole system, as `npm start` brings it up. */
export interface SluiceProcess extends Program {
  readonly url: string
  readonly dataDir: string
  /** Of the embedded PostgreSQL. */
  readonly databaseUrl: string
  /** Of the simulated cluster. */
  readonly kubeconfig: string
  /** Talks to it as one of the development principals. */
  as(principal: DevelopmentPrincipal): Api
  /** SIGKILL to its PostgreSQL first, then to itself: nothing of the system lives on. */
  killEverything(): Promise<void>
}

const tokensSchema = z.object({ requester: z.string(), approver: z.string(), admin: z.string() })
const postgresSchema = z.object({ port: z.number(), password: z.string() })

/** `sluice start` as a user runs it, on a free port; resolves when it says that it is ready. */
export async function startSluiceProcess(dataDir: string, ...flags: readonly string[]): Promise<SluiceProcess> {
  await buildSluice()
  const program = await startProgram({
    args: [join(root, 'bin/sluice.js'), 'start', '--data', dataDir, '--port', '0', ...flags],
    ready: /^Simulated cluster: .*\n/m,
  })
  const read = async (name: string): Promise<unknown> => JSON.parse(await readFile(join(dataDir, name), 'utf8'))
  const tokens = tokensSchema.parse(await read('dev-tokens.json'))
  const postgres = postgresSchema.parse(await read('embedded-postgres.json'))
  const url = /^Sluice is ready on (\S+)$/m.exec(program.output())?.[1] ?? ''
  return {
    ...program,
    url,
    dataDir,
    databaseUrl: `postgres://postgres:${postgres.password}@127.0.0.1:${postgres.port}/sluice`,
    kubeconfig: join(dataDir, 'simulated-cluster.kubeconfig'),
    as: (principal) => connectApi(url, tokens[principal]),
    killEverything: async () => {
      process.kill(await postmasterPid(dataDir), 'SIGKILL')
      await program.kill()
    },
  }
}

/** Of the PostgreSQL that runs on a data folder. */
export async function postmasterPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, 'postgres/postmaster.pid'), 'utf8'), 10)
}
