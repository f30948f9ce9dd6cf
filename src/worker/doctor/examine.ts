import { createDatabase } from '../../database/database.ts'
import { examineBacklog, examineProcesses } from './examine-processes.ts'
import { examineListen } from './examine-listen.ts'
import { examineSchema } from './examine-schema.ts'
import { examineBloat, examineDeadTuples, examineTransactions } from './examine-tables.ts'
import type { Finding, HealthLimits } from './finding.ts'

export interface Examination {
  /** The worst of the findings. */
  readonly state: Finding['state']
  readonly findings: readonly Finding[]
}

export interface ExamineOptions {
  readonly databaseUrl: string
  readonly limits?: Partial<HealthLimits>
}

/** From when on something is worth a warning, and when it fails. */
const defaultLimits: HealthLimits = {
  deadTuples: { warn: 10_000, fail: 100_000 },
  wastedBytes: { warn: 32 * 1024 ** 2, fail: 1024 ** 3 },
  oldestJobMs: { warn: 60_000, fail: 600_000 },
  skewMs: { warn: 1_000, fail: 60_000 },
  transactionMs: { warn: 60_000, fail: 600_000 },
  notifyMs: { warn: 500, fail: 5_000 },
}

/** Looks at a database and the processes on it, and changes nothing. Rejects when the database cannot be reached. */
export async function examine({ databaseUrl, limits }: ExamineOptions): Promise<Examination> {
  const database = createDatabase({ url: databaseUrl, poolMax: 2, poolMin: 0, applicationName: 'sluice doctor' })
  const about = { url: databaseUrl, pool: database.pool, limits: { ...defaultLimits, ...limits } }
  try {
    const findings = [await examineSchema(about)]
    // Without the tables the others have nothing to look at.
    if (findings[0]?.readable !== false) {
      findings.push(
        ...(await examineProcesses(about)),
        await examineBacklog(about),
        await examineListen(about),
        await examineTransactions(about),
        await examineDeadTuples(about),
        await examineBloat(about),
      )
    }
    const worst = (['fail', 'warn'] as const).find((state) => findings.some((finding) => finding.state === state))
    return { state: worst ?? 'ok', findings: findings.map(({ readable: _readable, ...finding }) => finding) }
  } finally {
    await database.stop()
  }
}
