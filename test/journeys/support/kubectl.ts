import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** True where there is no kubectl; says so once per file that asks. */
export function lacksKubectl(): boolean {
  const missing = spawnSync('kubectl', ['version', '--client']).status !== 0
  if (missing) console.warn('Skipped: no kubectl here.')
  return missing
}

/** What the real kubectl prints, on the cluster that Sluice works on. */
export async function kubectl(kubeconfig: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('kubectl', ['--kubeconfig', kubeconfig, ...args])
  return stdout
}
