import type { IncomingMessage } from 'node:http'
import { mediaType, parseBody, readBody, requireObject } from './api-request.ts'
import type { ControllerFault, ControllerMode, FaultInjector, FaultLimit, FaultMatch } from './faults.ts'
import { stringAt, type Json, type JsonObject } from './json.ts'
import type { Answer } from './resource-handler.ts'
import { badRequest, methodNotAllowed, pathNotFound } from './status-error.ts'

/** An answer, and what happens once it is sent. */
export interface FaultAnswer extends Answer {
  readonly afterwards?: () => void
}

/**
 * `/simulate/faults`: GET lists what is active, DELETE takes all of it back, POST `{"fault": "cut", …}` injects one.
 * Members are those of the methods of FaultInjector.
 */
export async function answerFaultRequest(
  faults: FaultInjector,
  request: IncomingMessage,
  url: URL,
): Promise<FaultAnswer> {
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
      const inject = readFault(faults, body)
      // They break every connection, and with it that of whoever asked for them.
      const breaks = body['fault'] === 'restart' || body['fault'] === 'futureResourceVersion'
      if (breaks) return { ...answer({ simulated: true, injected: body['fault'] }), afterwards: inject }
      return answer({ simulated: true, ...inject() })
    }
    default:
      throw methodNotAllowed()
  }
}

/** Injects what the JSON form of a fault says; 400 when it says nothing that is known. */
export function injectFault(faults: FaultInjector, body: JsonObject): Record<string, unknown> {
  return readFault(faults, body)()
}

const members = ['fault', 'verb', 'resource', 'namespace', 'name', 'count', 'forMs', 'retryAfter', 'ms', 'downMs', 'by']
const controllerMembers = ['fault', 'mode', 'kind', 'namespace', 'name', 'reason', 'everyMs']

function readFault(faults: FaultInjector, body: JsonObject): () => Record<string, unknown> {
  const fault = stringAt(body, 'fault') ?? ''
  const known = fault === 'controller' ? controllerMembers : members
  const strange = Object.keys(body).find((key) => !known.includes(key))
  if (strange !== undefined) throw badRequest(`unknown member ${JSON.stringify(strange)}; known: ${known.join(', ')}`)
  if (fault === 'controller') return injecting(fault, faults.controller.bind(faults, controllerFaultOf(body)))
  const match = matchOf(body)
  const limited = { ...match, ...limitOf(body) }
  switch (fault) {
    case 'cut':
      return () => ({ watches: faults.cut(match) })
    case 'halfOpen':
      return () => ({ watches: faults.halfOpen(match) })
    case 'gone410':
      return () => ({ watches: faults.gone410(match) })
    case 'tooManyRequests': {
      const retryAfter = numberIn(body, 'retryAfter')
      const options = { ...limited, ...(retryAfter === undefined ? {} : { retryAfter }) }
      return injecting(fault, () => faults.tooManyRequests(options))
    }
    case 'error500':
      return injecting(fault, () => faults.error500(limited))
    case 'malformedJson':
      return injecting(fault, () => faults.malformedJson(limited))
    case 'slow': {
      const ms = numberIn(body, 'ms') ?? 1_000
      return injecting(fault, () => faults.slow(ms, limited))
    }
    case 'restart': {
      const downMs = numberIn(body, 'downMs') ?? 0
      return injecting(fault, () => faults.restart({ downMs }))
    }
    case 'futureResourceVersion': {
      const by = numberIn(body, 'by') ?? 10_000
      return injecting(fault, () => faults.futureResourceVersion({ by }))
    }
    default:
      throw badRequest(
        `unknown fault ${JSON.stringify(fault)}; known: cut, halfOpen, gone410, tooManyRequests, error500, malformedJson, slow, restart, futureResourceVersion, controller`,
      )
  }
}

function injecting(fault: string, inject: () => unknown): () => Record<string, unknown> {
  return () => {
    inject()
    return { injected: fault }
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
  const count = numberIn(body, 'count')
  const forMs = numberIn(body, 'forMs')
  return { ...(count === undefined ? {} : { count }), ...(forMs === undefined ? {} : { forMs }) }
}

const modes: readonly ControllerMode[] = ['fail', 'stall', 'flap', 'deleteAndRecreate']

function controllerFaultOf(body: JsonObject): ControllerFault {
  const mode = modes.find((known) => known === body['mode'])
  if (mode === undefined) throw badRequest(`mode must be one of ${modes.join(', ')}`)
  const everyMs = numberIn(body, 'everyMs')
  return {
    mode,
    ...text(body, 'kind'),
    ...text(body, 'namespace'),
    ...text(body, 'name'),
    ...text(body, 'reason'),
    ...(everyMs === undefined ? {} : { everyMs }),
  }
}

function numberIn(body: JsonObject, key: string): number | undefined {
  const value = body[key]
  if (value === undefined || (typeof value === 'number' && value >= 0)) return value
  throw badRequest(`${key} must be a number, zero or more`)
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
