import type { IncomingMessage } from 'node:http'
import { mediaType, parseBody, readBody, requireObject } from './api-request.ts'
import type { ControllerFault, ControllerMode, FaultInjector, FaultLimit, FaultMatch } from './faults.ts'
import { numberAt, stringAt, type Json, type JsonObject } from './json.ts'
import type { Answer } from './resource-handler.ts'
import { badRequest, methodNotAllowed, pathNotFound } from './status-error.ts'

/**
 * `/simulate/faults`: GET lists what is active, DELETE takes all of it back, POST `{"fault": "cut", …}` injects one.
 * Members are those of the methods of FaultInjector.
 */
export async function answerFaultRequest(faults: FaultInjector, request: IncomingMessage, url: URL): Promise<Answer> {
  if (url.pathname !== '/simulate/faults') throw pathNotFound()
  switch (request.method) {
    case 'GET':
      return answer({
        simulated: true,
        active: faults.active().map(({ id, fault, detail }) => ({ id, fault, detail })),
      })
    case 'DELETE':
      faults.clear()
      return answer({ simulated: true, active: [] })
    case 'POST': {
      const body = requireObject(parseBody(await readBody(request), mediaType(request)))
      return answer({ simulated: true, ...injectFault(faults, body) })
    }
    default:
      throw methodNotAllowed()
  }
}

const members = ['fault', 'verb', 'resource', 'namespace', 'name', 'count', 'forMs', 'retryAfter', 'ms', 'downMs', 'by']
const controllerMembers = ['fault', 'mode', 'kind', 'namespace', 'name', 'reason', 'everyMs']

/** Injects what the JSON form of a fault says; 400 when it says nothing that is known. */
export function injectFault(faults: FaultInjector, body: JsonObject): Record<string, unknown> {
  const fault = stringAt(body, 'fault') ?? ''
  const known = fault === 'controller' ? controllerMembers : members
  const strange = Object.keys(body).find((key) => !known.includes(key))
  if (strange !== undefined) throw badRequest(`unknown member ${JSON.stringify(strange)}; known: ${known.join(', ')}`)
  const match = matchOf(body)
  const limited = { ...match, ...limitOf(body) }
  switch (fault) {
    case 'cut':
      return { watches: faults.cut(match) }
    case 'halfOpen':
      return { watches: faults.halfOpen(match) }
    case 'gone410':
      return { watches: faults.gone410(match) }
    case 'tooManyRequests': {
      const retryAfter = numberAt(body, 'retryAfter')
      faults.tooManyRequests({ ...limited, ...(retryAfter === undefined ? {} : { retryAfter }) })
      return { injected: fault }
    }
    case 'error500':
      faults.error500(limited)
      return { injected: fault }
    case 'malformedJson':
      faults.malformedJson(limited)
      return { injected: fault }
    case 'slow':
      faults.slow(numberAt(body, 'ms') ?? 1_000, limited)
      return { injected: fault }
    case 'restart':
      faults.restart({ downMs: numberAt(body, 'downMs') ?? 0 })
      return { injected: fault }
    case 'futureResourceVersion':
      faults.futureResourceVersion({ by: numberAt(body, 'by') ?? 10_000 })
      return { injected: fault }
    case 'controller':
      faults.controller(controllerFaultOf(body))
      return { injected: fault }
    default:
      throw badRequest(
        `unknown fault ${JSON.stringify(fault)}; known: cut, halfOpen, gone410, tooManyRequests, error500, malformedJson, slow, restart, futureResourceVersion, controller`,
      )
  }
}

const verbs = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const

function matchOf(body: JsonObject): FaultMatch {
  const verb = verbs.find((known) => known === body['verb'])
  if (body['verb'] !== undefined && verb === undefined) throw badRequest(`unknown verb; known: ${verbs.join(', ')}`)
  return {
    ...(verb === undefined ? {} : { verb }),
    ...text(body, 'resource'),
    ...text(body, 'namespace'),
    ...text(body, 'name'),
  }
}

function limitOf(body: JsonObject): FaultLimit {
  const count = numberAt(body, 'count')
  const forMs = numberAt(body, 'forMs')
  return { ...(count === undefined ? {} : { count }), ...(forMs === undefined ? {} : { forMs }) }
}

const modes: readonly ControllerMode[] = ['fail', 'stall', 'flap', 'deleteAndRecreate']

function controllerFaultOf(body: JsonObject): ControllerFault {
  const mode = modes.find((known) => known === body['mode'])
  if (mode === undefined) throw badRequest(`mode must be one of ${modes.join(', ')}`)
  const everyMs = numberAt(body, 'everyMs')
  return {
    mode,
    ...text(body, 'kind'),
    ...text(body, 'namespace'),
    ...text(body, 'name'),
    ...text(body, 'reason'),
    ...(everyMs === undefined ? {} : { everyMs }),
  }
}

function text<K extends string>(body: JsonObject, key: K): Partial<Record<K, string>> {
  const value: Json | undefined = body[key]
  if (value === undefined) return {}
  if (typeof value !== 'string') throw badRequest(`${key} must be a string`)
  // A computed key of a literal type is widened to a record of strings.
  return { [key]: value } as Record<K, string>
}

function answer(document: Record<string, unknown>): Answer {
  return { status: 200, contentType: 'application/json', text: JSON.stringify(document), warnings: [] }
}
