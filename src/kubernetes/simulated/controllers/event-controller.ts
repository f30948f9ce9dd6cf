import { stringAt } from '../json.ts'
import { eventKind } from '../kinds/core.ts'
import { nameOf, type Controller } from './controller.ts'

/** As long as an API server keeps them by default. */
const lifetimeMs = 3_600_000

/** Events are news: an hour later they go. */
export const eventController: Controller = {
  name: 'event',
  group: '',
  plural: eventKind.plural,
  reconcile(event, context) {
    const said = stringAt(event, 'lastTimestamp') ?? stringAt(event.metadata, 'creationTimestamp') ?? ''
    const left = Date.parse(said) + lifetimeMs - context.clock.now()
    if (left > 0) return left
    context.remover.remove(eventKind, nameOf(event), {})
    return undefined
  },
}
