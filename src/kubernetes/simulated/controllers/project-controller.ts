import { projectKind } from '../kinds/project.ts'
import { uidOf, type KubernetesObject } from '../kubernetes-object.ts'
import { guardDeletion, type Controller, type ControllerContext } from './controller.ts'
import { stepStages, type StagedKind } from './staged-conditions.ts'

const finalizer = 'resourcemanager.miloapis.com/project-controller'

function ready(status: 'True' | 'False', reason: string, message: string) {
  return [{ type: 'Ready', status, reason, message }] as const
}

const stages: StagedKind = {
  kind: projectKind,
  manager: 'project-controller',
  readyAfterMs: (project, { options }) => options.projectReadyAfterMs + spread(project, options.projectReadySpreadMs),
  pending: ready('False', 'Pending', 'Project is waiting to be provisioned'),
  provisioning: ready('False', 'Provisioning', 'Project is being provisioned'),
  ready: ready('True', 'Ready', 'Project is ready'),
  failed: (reason) =>
    ready('False', reason ?? 'ProjectNameConflict', 'Project name is already taken by another organization'),
  // Written once with the condition; a ready project is never looked at again, so that it goes stale, as the real one's.
  observedGeneration: true,
}

export const projectController: Controller = {
  name: 'project',
  group: projectKind.group,
  plural: projectKind.plural,
  reconcile(project: KubernetesObject, context: ControllerContext) {
    const deletion = guardDeletion(project, projectKind, finalizer, context)
    return deletion === undefined ? stepStages(project, stages, context) : deletion.wait
  },
}

/** The same object always waits the same while: the extra comes from its uid. */
function spread(object: KubernetesObject, spreadMs: number): number {
  if (spreadMs <= 0) return 0
  return (Number.parseInt(uidOf(object).slice(0, 8), 16) / 0xffff_ffff) * spreadMs
}
