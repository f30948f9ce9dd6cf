import { createApp } from '../src/http/app.ts'
import type { Services } from '../src/http/services.ts'
import { createTaskExport } from '../src/tasks/export-tasks.ts'
import { createAnalysis } from '../src/operations/analysis/analysis-create.ts'
import { builtInOperations, createOperationRegistry } from '../src/operations/registry.ts'

/** The OpenAPI document of the built-in operations, as `GET /api/v1/openapi.json` answers it. */
export async function openApiDocument(): Promise<string> {
  const app = await createApp({ services: documentedServices() })
  try {
    return `${JSON.stringify(app.swagger(), null, 2)}\n`
  } finally {
    await app.close()
  }
}

/** Only the operations say something about the routes; every other service may be passed around and never used. */
function documentedServices(): Services {
  // Each is typed as the service that it stands for, and is none.
  const database = unusedService('database') as Services['database']
  const cache = unusedService('cache') as Services['cache']
  const operations = createOperationRegistry([
    ...builtInOperations,
    createTaskExport({ database }),
    createAnalysis({ cache }),
  ])
  return new Proxy({ operations } as Services, {
    get: (target, name) => (name in target ? (Reflect.get(target, name) as unknown) : unusedService(String(name))),
  })
}

function unusedService(name: string): unknown {
  const refuse = (): never => {
    throw new Error(`The document would depend on services.${name}, which does not exist here.`)
  }
  return new Proxy(refuse, { get: refuse, apply: refuse })
}
