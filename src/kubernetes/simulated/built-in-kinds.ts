import { configMapKind, eventKind, namespaceKind, secretKind } from './kinds/core.ts'
import { projectKind } from './kinds/project.ts'
import type { ResourceKind } from './resource-kind.ts'

/** Served from the start; further kinds come with their CustomResourceDefinitions. */
export const builtInKinds: readonly ResourceKind[] = [namespaceKind, configMapKind, secretKind, eventKind, projectKind]
