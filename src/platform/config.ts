import { z } from 'zod'

/** Settings by name. Name them in camelCase: `databaseUrl` is read from `DATABASE_URL` and from `databaseUrl:` in the file. */
export type ConfigSchema = z.ZodObject

export interface ConfigEntry {
  readonly key: string
  /** The variable that sets it. */
  readonly variable: string
  /** The value as text; `[secret]` for a secret that is set. */
  readonly value: string
  readonly source: 'given' | 'environment' | 'file' | 'default'
}

/** Checked settings. Synchronous; never changes after it was made. Printing or serialising it masks the secrets. */
export interface Config<S extends ConfigSchema = ConfigSchema> {
  get<K extends keyof z.output<S>>(key: K): z.output<S>[K]
  /** Everything, to show an operator what the process runs with and where each setting comes from. Secrets are masked. */
  describe(): readonly ConfigEntry[]
}

export interface ConfigProblem {
  readonly key: string
  /** How to set it: the variable, the file's path, or `given`. */
  readonly where: string
  readonly message: string
}

/** Settings that cannot be used: all problems at once, without any secret's value. */
export class ConfigError extends Error {
  readonly code = 'config_invalid'
  readonly problems: readonly ConfigProblem[]
  constructor(problems: readonly ConfigProblem[], options?: ErrorOptions) {
    const lines = problems.map((problem) => `  ${problem.key} (${problem.where}): ${problem.message}`)
    super(`The configuration has ${problems.length} problem(s):\n${lines.join('\n')}`, options)
    this.name = 'ConfigError'
    this.problems = problems
  }
}

const secrets = z.registry<{ readonly secret: true }>()

/** Marks a setting as secret: it is masked wherever it could be shown, and may come from a file (`NAME_FILE`). */
export function secretSetting<S extends z.ZodType>(schema: S): S {
  secrets.add(schema, { secret: true })
  return schema
}

/** Whether this setting, or what an `optional` or `default` around it wraps, was marked. */
export function isSecretSetting(schema: unknown): boolean {
  if (!(schema instanceof z.ZodType)) return false
  if (secrets.has(schema)) return true
  if (schema instanceof z.ZodPipe) return isSecretSetting(schema.def.in) || isSecretSetting(schema.def.out)
  return 'innerType' in schema.def && isSecretSetting(schema.def.innerType)
}
