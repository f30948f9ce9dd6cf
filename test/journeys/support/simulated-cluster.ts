import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { z } from 'zod'

const kubeconfigSchema = z.object({
  clusters: z.tuple([z.object({ cluster: z.object({ server: z.url() }) })]),
  users: z.tuple([z.object({ user: z.object({ token: z.string() }) })]),
})

const projectSchema = z.object({
  metadata: z.object({ name: z.string(), uid: z.string(), labels: z.record(z.string(), z.string()).default({}) }),
})
export type Project = z.infer<typeof projectSchema>

/** The simulated cluster behind a kubeconfig, over its own HTTP: what is in it, and how it misbehaves. */
export interface SimulatedCluster {
  projects(): Promise<Project[]>
  /** Makes a project past Sluice. */
  makeProject(name: string): Promise<void>
  /** Keeps a project that does not exist yet from becoming ready, until it is let go. */
  hold(name: string): Promise<void>
  /** Lets everything go that is held. */
  letGo(): Promise<void>
}

const collection = '/apis/resourcemanager.miloapis.com/v1alpha1/projects'

export async function openSimulatedCluster(kubeconfigPath: string): Promise<SimulatedCluster> {
  const kubeconfig = kubeconfigSchema.parse(parse(await readFile(kubeconfigPath, 'utf8')))
  // The same port speaks plain HTTP, for which no certificate is needed.
  const server = kubeconfig.clusters[0].cluster.server.replace(/^https:/, 'http:')
  const headers = { authorization: `Bearer ${kubeconfig.users[0].user.token}`, 'content-type': 'application/json' }
  const send = async (method: string, path: string, body?: object): Promise<unknown> => {
    const response = await fetch(`${server}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`)
    return response.json()
  }
  return {
    projects: async () => z.object({ items: z.array(projectSchema) }).parse(await send('GET', collection)).items,
    makeProject: async (name) => {
      await send('POST', collection, {
        apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
        kind: 'Project',
        metadata: { name },
        spec: { ownerRef: { kind: 'Organization', name: 'somebody-else' } },
      })
    },
    hold: async (name) => {
      await send('POST', '/simulate/faults', { fault: 'controller', mode: 'stall', kind: 'Project', name })
    },
    letGo: async () => {
      await send('DELETE', '/simulate/faults')
    },
  }
}
