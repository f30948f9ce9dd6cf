import type { Controller } from './controller.ts'
import { namespaceController } from './namespace-controller.ts'
import { projectController } from './project-controller.ts'

export const controllers: readonly Controller[] = [namespaceController, projectController]
