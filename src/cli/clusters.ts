import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { CheckedCluster, Cluster } from '../contract/cluster.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { UsageError } from './usage-error.ts'

interface AddOptions extends ConnectionOptions {
  readonly kubeconfig: string
  readonly context?: string
  readonly basePath?: readonly string[]
  readonly replace?: boolean
}

/** `sluice clusters list | get | add | remove` */
export function addClustersCommand(program: Command, terminal: Terminal): void {
  const clusters = program.command('clusters').description('the clusters that the tenant may use')
  addConnectionOptions(clusters.command('list').description('those for all tenants, and its own')).action(
    (options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const items = await (await connect(options, terminal.env)).listClusters({ signal })
        if (options.json === true) printJson(terminal, items)
        else if (items.length === 0) printLine(terminal, 'No clusters.')
        else for (const cluster of items) printLine(terminal, summary(cluster))
        return exitCodes.completed
      }),
  )

  addConnectionOptions(clusters.command('get <name>').description('one of them, and whether it answers')).action(
    (name: string, options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const cluster = await (await connect(options, terminal.env)).getCluster(name, { signal })
        if (options.json === true) printJson(terminal, cluster)
        else printLine(terminal, `${summary(cluster)}\n${connection(cluster)}`)
        return cluster.connection.reachable ? exitCodes.completed : exitCodes.failed
      }),
  )

  addConnectionOptions(
    clusters
      .command('add <name>')
      .description('add a cluster of the tenant, or give it another kubeconfig')
      .requiredOption('--kubeconfig <file>', 'as `kubectl config view --flatten --minify --raw` writes it')
      .option('--context <name>', 'context of the kubeconfig (default: its current one)')
      .option('--base-path <template...>', 'for a control plane behind a path, such as /apis/…/organizations/{org}')
      .option('--replace', 'replace what is known of a cluster of this name'),
  ).action((name: string, options: AddOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const { context, basePath } = options
      const given = {
        kubeconfig: await readKubeconfig(options.kubeconfig),
        ...(context !== undefined && { context }),
        ...(basePath !== undefined && { base_paths: [...basePath] }),
      }
      const { replace = false } = options
      if (replace) await client.replaceCluster(name, given, { signal })
      else await client.addCluster({ name, ...given }, { signal })
      const cluster = await client.getCluster(name, { signal })
      if (options.json === true) printJson(terminal, cluster)
      else printLine(terminal, `${replace ? 'Replaced' : 'Added'} ${summary(cluster)}\n${connection(cluster)}`)
      return exitCodes.completed
    }),
  )

  addConnectionOptions(
    clusters.command('remove <name>').description('remove a cluster of the tenant; tasks that still need it fail'),
  ).action((name: string, options: ConnectionOptions) =>
    runCommand(terminal, options, async (signal) => {
      await (await connect(options, terminal.env)).removeCluster(name, { signal })
      if (options.json === true) printJson(terminal, { removed: name })
      else printLine(terminal, `Removed ${name}`)
      return exitCodes.completed
    }),
  )
}

async function readKubeconfig(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: Error) => {
    throw new UsageError(`The kubeconfig cannot be read: ${error.message}`)
  })
}

function summary({ name, origin, simulated, server, authentication }: Cluster): string {
  const kind = authentication === 'client_certificate' ? 'client certificate' : authentication
  const facts = origin === 'shared' ? ['for all tenants'] : [server, `by ${kind ?? 'nothing'}`]
  return [name, ...facts, ...(simulated ? ['simulated'] : [])].join('  ')
}

function connection({ connection: { reachable, version, reason } }: CheckedCluster): string {
  return reachable ? `It answers: Kubernetes ${version ?? ''}` : `It cannot be used now: ${reason ?? ''}`
}
