import { resolve } from 'node:path'
import { developmentTokensPath } from './development-tokens.ts'
import type { StartOptions } from './start-options.ts'

export interface Ready {
  readonly url: string
  /** Undefined where there are no development principals. */
  readonly oneTimeCode: string | undefined
  /** Of `--demo`. */
  readonly demo?: { readonly issuer: string; readonly users: readonly string[] } | undefined
  /** Of the simulated cluster, where there is one. */
  readonly kubeconfigPath: string | undefined
  /** A name that no project has yet, so that the lines work as printed at every start. */
  readonly freshName: string
}

/** What `sluice start` prints when it is ready; every line that is meant to be pasted stands alone. */
export function describeReady(options: StartOptions, ready: Ready): string {
  if (options.role === 'worker') return 'Sluice worker is ready\n'
  const lines = [`Sluice is ready on ${ready.url}`, curlLine(options, ready), submitLine(options, ready)]
  if (ready.oneTimeCode !== undefined) {
    lines.push(`Console: ${ready.url}/?code=${ready.oneTimeCode}`)
  } else if (options.databaseUrl === undefined) {
    lines.push(`The development tokens are off, because others than this machine can reach ${options.host}.`)
  } else {
    lines.push('Nobody has a token yet? npx sluice admin create --tenant default --name admin')
  }
  if (ready.demo !== undefined) {
    const { issuer, users } = ready.demo
    lines.push(`Sign in: ${ready.url}/login as ${users.join(', ')} (demo identity provider: ${issuer})`)
  } else if (options.oidc?.client !== undefined) {
    lines.push(`Sign in: ${options.publicUrl ?? ready.url}/login (identity provider: ${options.oidc.issuer})`)
  }
  if (ready.kubeconfigPath !== undefined) {
    const path = quote(ready.kubeconfigPath)
    lines.push(`Simulated cluster: kubectl --kubeconfig ${path} get projects.resourcemanager.miloapis.com`)
  }
  return `${lines.join('\n')}\n`
}

function curlLine(options: StartOptions, { url, oneTimeCode, freshName }: Ready): string {
  const body = JSON.stringify({ name: `${freshName}-1`, organization: 'acme' })
  return [
    `curl -sS ${url}/api/v1/projects`,
    `-H "Authorization: Bearer ${oneTimeCode === undefined ? '$SLUICE_TOKEN' : readToken(options.dataDir)}"`,
    `-H 'Content-Type: application/json'`,
    `-d ${quote(body)}`,
  ].join(' ')
}

function submitLine(options: StartOptions, { url, freshName }: Ready): string {
  return [
    `npx sluice submit project.create --input name=${freshName}-2 --input organization=acme --wait`,
    ...(url === 'http://127.0.0.1:8080' ? [] : [`--url ${url}`]),
    ...(options.dataDir === resolve('.sluice') ? [] : [`--data ${quote(options.dataDir)}`]),
  ].join(' ')
}

/** Inside double quotes, where the shell still runs `$(…)` and takes quotes within it for its own. */
function readToken(dataDir: string): string {
  const path = quote(developmentTokensPath(dataDir))
  return `$(sed -n 's/.*"requester": *"\\([^"]*\\)".*/\\1/p' ${path})`
}

/** A word for a POSIX shell. */
function quote(word: string): string {
  return /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
