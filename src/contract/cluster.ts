import { z } from 'zod'

/** A cluster that the tenant may use. Credentials are taken, and never shown. */
export const clusterSchema = z.object({
  name: z.string(),
  origin: z.enum(['shared', 'tenant']).describe('shared: configured for all tenants · tenant: added over the API'),
  simulated: z.boolean(),
  server: z.string().nullable().describe('Address of the API server; of a shared cluster it is not told'),
  authentication: z.enum(['token', 'client_certificate']).nullable(),
  base_paths: z.array(z.string()).describe('Templates such as /apis/…/organizations/{org}/control-plane'),
  created_by: z.string().nullable(),
  created_at: z.string().nullable(),
  changed_by: z.string().nullable(),
  changed_at: z.string().nullable(),
})
export type Cluster = z.infer<typeof clusterSchema>

export const clusterPageSchema = z.object({ items: z.array(clusterSchema), next_page_token: z.null() })

/** `GET /clusters/{name}`: with what a request to it says right now. */
export const checkedClusterSchema = clusterSchema.extend({
  connection: z.object({
    reachable: z.boolean().describe('Whether it answers, and takes the credentials'),
    version: z.string().nullable(),
    reason: z.string().nullable().describe('Why it is not reachable'),
    checked_at: z.string(),
  }),
})
export type CheckedCluster = z.infer<typeof checkedClusterSchema>

const kubeconfig = z
  .string()
  .min(1)
  .max(256 * 1024)
  .describe(
    'YAML or JSON. Only server, certificate-authority-data, and a token or a client certificate with its key, as data: no programs, no files, no proxy',
  )
const kubeconfigFields = {
  kubeconfig,
  context: z.string().min(1).max(253).optional().describe('By default the kubeconfig’s current context'),
  base_paths: z
    .array(z.string().min(1).max(512))
    .max(10)
    .default([])
    .describe('For a control plane behind a path: templates such as /apis/…/organizations/{org}/control-plane'),
}

/** `POST /clusters` */
export const newClusterSchema = z.strictObject({
  name: z
    .string()
    .max(63)
    .regex(
      /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
      'must be lower-case letters, digits and hyphens, and begin and end with a letter or digit',
    ),
  ...kubeconfigFields,
})
export type NewCluster = z.input<typeof newClusterSchema>

/** `PUT /clusters/{name}` */
export const clusterChangeSchema = z.strictObject(kubeconfigFields)
export type ClusterChange = z.input<typeof clusterChangeSchema>
