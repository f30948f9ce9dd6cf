import { z } from 'zod'

/** A Kubernetes object name (RFC 1123 label). */
export const objectName = (maxLength: number) =>
  z
    .string()
    .min(1)
    .max(maxLength)
    .regex(
      /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
      'must be lower-case letters, digits and hyphens, and begin and end with a letter or digit',
    )

/** The Kubernetes API endpoint that the change goes to. */
export const clusterName = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'must be the name of a configured cluster')
  .default('default')
  .describe('Cluster to work on')
