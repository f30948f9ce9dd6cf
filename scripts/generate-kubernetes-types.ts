/**
 * Writes the field tables of the built-in kinds that the simulated cluster serves, from the models of the Kubernetes
 * client: one line per field, `"name!": "string"` where the field is required.
 *
 * `node scripts/generate-kubernetes-types.ts` writes, with `--check` it fails when the committed copy differs.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { format } from 'prettier'
import * as models from '@kubernetes/client-node'

const roots = ['V1Pod', 'V1Deployment', 'V1ReplicaSet', 'V1Job']
const target = fileURLToPath(new URL('../src/kubernetes/simulated/kinds/kubernetes-types.json', import.meta.url))
const modelFolder = new URL('../node_modules/@kubernetes/client-node/dist/gen/models/', import.meta.url)

interface Attribute {
  readonly baseName: string
  readonly type: string
  readonly format: string
}

export async function kubernetesTypes(): Promise<string> {
  const tables: Record<string, Record<string, string>> = {}
  const open = [...roots]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const attributes = tables[name] === undefined ? attributesOf(name) : undefined
    if (attributes === undefined) continue
    const required = await requiredFields(name)
    tables[name] = Object.fromEntries(
      attributes.map((attribute) => [
        required.has(attribute.baseName) ? `${attribute.baseName}!` : attribute.baseName,
        attribute.format === '' ? attribute.type : `${attribute.type}:${attribute.format}`,
      ]),
    )
    for (const { type } of attributes) open.push(elementType(type))
  }
  const sorted = Object.fromEntries(Object.entries(tables).sort(([left], [right]) => (left < right ? -1 : 1)))
  return await format(JSON.stringify(sorted), { parser: 'json', printWidth: 120 })
}

function attributesOf(name: string): readonly Attribute[] | undefined {
  if (name === 'V1ObjectMeta') return undefined
  // The module's exports are looked up by name; a model is known by its table of attributes.
  const model = (models as Record<string, unknown>)[name] as { attributeTypeMap?: readonly Attribute[] } | undefined
  return model?.attributeTypeMap
}

/** Only the typings say which fields must be there: those without a question mark. */
async function requiredFields(name: string): Promise<ReadonlySet<string>> {
  const text = await readFile(new URL(`${name}.d.ts`, modelFolder), 'utf8')
  return new Set([...text.matchAll(/^ {4}'([^']+)': /gm)].map(([, field = '']) => field))
}

function elementType(type: string): string {
  const inner = /^(?:Array|Set)<(.+)>$/.exec(type) ?? /^\{ \[key: string\]: (.+); \}$/.exec(type)
  return inner?.[1] === undefined ? type : elementType(inner[1])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await kubernetesTypes()
  if (!process.argv.includes('--check')) await writeFile(target, text)
  else if ((await readFile(target, 'utf8')) !== text) {
    console.error(`${target} is out of date: run node scripts/generate-kubernetes-types.ts`)
    process.exitCode = 1
  }
}
