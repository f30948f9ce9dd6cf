import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { parse } from 'yaml'
import { z } from 'zod'
import {
  type Config,
  type ConfigEntry,
  ConfigError,
  type ConfigProblem,
  type ConfigSchema,
  isSecretSetting,
} from '../../config.ts'

export interface EnvConfigOptions<S extends ConfigSchema> {
  readonly schema: S
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Put before every variable's name, for example `SLUICE_`. @default '' */
  readonly prefix?: string
  /** A YAML or JSON file. It must exist when given. */
  readonly file?: string
  /** Values that win over all others, for example from the command line. `undefined` means not given. */
  readonly values?: Readonly<Record<string, unknown>>
}

/**
 * Reads settings: given values before variables before the file before defaults. A variable `NAME_FILE` names a file
 * that holds a secret. Text becomes a number, boolean, list (by commas) or object (JSON) where the schema wants one.
 * @throws ConfigError with every problem at once
 */
export function createEnvConfig<S extends ConfigSchema>(options: EnvConfigOptions<S>): Config<S> {
  const problems: ConfigProblem[] = []
  const found = collect(options, problems)
  const input = Object.fromEntries([...found].map(([key, setting]) => [key, setting.value]))
  const result = z.safeParse(options.schema, input)
  for (const issue of result.success ? [] : result.error.issues) {
    const key = String(issue.path[0] ?? '')
    // A secret that could not be read has been reported, with a better reason than "missing".
    if (problems.some((problem) => problem.key === key)) continue
    const setting = found.get(key)
    const where = setting?.where ?? variableOf(key, options.prefix)
    const secret = isSecretSetting(options.schema.shape[key])
    problems.push({ key: issue.path.join('.'), where, message: setting ? reason(issue, secret) : 'is missing' })
  }
  if (!result.success || problems.length > 0) throw new ConfigError(problems)
  return makeConfig(options, result.data, found)
}

interface Setting {
  readonly value: unknown
  readonly source: ConfigEntry['source']
  readonly where: string
}

function collect<S extends ConfigSchema>(
  options: EnvConfigOptions<S>,
  problems: ConfigProblem[],
): Map<string, Setting> {
  const env = options.env ?? process.env
  const file = readFile(options.file, problems)
  const found = new Map<string, Setting>()
  const keys = Object.keys(options.schema.shape)
  for (const key of keys) {
    const schema: unknown = options.schema.shape[key]
    const variable = variableOf(key, options.prefix)
    const text = env[variable]
    if (options.values?.[key] !== undefined) {
      found.set(key, { value: options.values[key], source: 'given', where: 'given' })
    } else if (text !== undefined && text !== '') {
      found.set(key, { value: fromText(schema, text), source: 'environment', where: variable })
    } else if (isSecretSetting(schema) && env[`${variable}_FILE`]) {
      readSecretFile({ key, variable: `${variable}_FILE`, path: env[`${variable}_FILE`] ?? '' }, found, problems)
    } else if (file[key] !== undefined) {
      found.set(key, { value: file[key], source: 'file', where: options.file ?? 'file' })
    }
  }
  const surplus = (from: object, where: string) =>
    Object.keys(from)
      .filter((key) => !keys.includes(key))
      .forEach((key) => {
        problems.push({ key, where, message: 'is not a setting; check its spelling' })
      })
  surplus(file, options.file ?? 'file')
  surplus(options.values ?? {}, 'given')
  return found
}

function readFile(path: string | undefined, problems: ConfigProblem[]): Record<string, unknown> {
  if (path === undefined) return {}
  try {
    const content: unknown = parse(readFileSync(path, 'utf8')) ?? {}
    return z.record(z.string(), z.unknown()).parse(content)
  } catch (error) {
    const message = error instanceof z.ZodError ? 'does not hold settings by name' : String(error)
    problems.push({ key: '*', where: path, message })
    return {}
  }
}

interface SecretFile {
  readonly key: string
  readonly variable: string
  readonly path: string
}

function readSecretFile(file: SecretFile, found: Map<string, Setting>, problems: ConfigProblem[]): void {
  try {
    // Editors and `echo` end a file with a newline that is no part of the secret.
    const value = readFileSync(file.path, 'utf8').replace(/\r?\n$/, '')
    found.set(file.key, { value, source: 'environment', where: file.variable })
  } catch (error) {
    problems.push({ key: file.key, where: file.variable, message: `cannot be read: ${String(error)}` })
  }
}

/** `databaseUrl` → `DATABASE_URL`. */
function variableOf(key: string, prefix = ''): string {
  return prefix + key.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()
}

const booleans: Readonly<Record<string, boolean>> = {
  true: true,
  1: true,
  yes: true,
  false: false,
  0: false,
  no: false,
}

/** Text from a variable in the form that the schema expects; what does not fit stays text and fails the schema. */
function fromText(schema: unknown, text: string): unknown {
  if (schema instanceof z.ZodNumber) return text.trim() !== '' && !Number.isNaN(Number(text)) ? Number(text) : text
  if (schema instanceof z.ZodBoolean) return booleans[text.toLowerCase()] ?? text
  if (schema instanceof z.ZodArray) return fromList(schema, text)
  if (schema instanceof z.ZodObject || schema instanceof z.ZodRecord) return fromJson(text)
  if (schema instanceof z.ZodPipe) return fromText(schema.def.in, text)
  if (schema instanceof z.ZodType && 'innerType' in schema.def) return fromText(schema.def.innerType, text)
  return text
}

function fromList(schema: z.ZodArray, text: string): unknown {
  if (text.trimStart().startsWith('[')) return fromJson(text)
  return text.split(',').map((part) => fromText(schema.element, part.trim()))
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

// The schema's own message may quote the value, so a secret gets the kind of problem only.
function reason(issue: z.core.$ZodIssue, secret: boolean): string {
  return secret ? `is not valid (${issue.code})` : issue.message
}

function makeConfig<S extends ConfigSchema>(
  options: EnvConfigOptions<S>,
  values: z.output<S>,
  found: ReadonlyMap<string, Setting>,
): Config<S> {
  const describe = (): ConfigEntry[] =>
    Object.keys(options.schema.shape).map((key) => {
      // The schema's keys are the values' keys; TypeScript cannot see that through the generic.
      const value = (values as Record<string, unknown>)[key]
      const secret = isSecretSetting(options.schema.shape[key]) && value !== undefined
      return {
        key,
        variable: variableOf(key, options.prefix),
        value: secret ? '[secret]' : typeof value === 'string' ? value : (JSON.stringify(value) ?? ''),
        source: found.get(key)?.source ?? 'default',
      }
    })
  const masked = () => Object.fromEntries(describe().map((entry) => [entry.key, entry.value]))
  const config: Config<S> = { get: (key) => values[key], describe }
  // What `JSON.stringify` and `console.log` show of a config.
  return Object.assign(config, { toJSON: masked, [inspect.custom]: masked })
}
