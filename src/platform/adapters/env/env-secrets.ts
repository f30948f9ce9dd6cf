import { isSecretName, requireSecretName } from '../../secret-name.ts'
import { SecretNotFoundError, type Secrets } from '../../secrets.ts'

export interface EnvSecretsOptions {
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** What the variables' names start with; never empty, or `list` would name the whole environment. @default 'SECRET_' */
  readonly prefix?: string
}

/** Secrets in variables: `db/password` is `SECRET_DB__PASSWORD`. A variable never changes while the process runs. */
export function createEnvSecrets(options: EnvSecretsOptions = {}): Secrets {
  const env = options.env ?? process.env
  const prefix = options.prefix || 'SECRET_'
  const read = (name: string) => {
    requireSecretName(name)
    return env[variableOf(name, prefix)]
  }
  return {
    capabilities: { liveWatch: false },
    get: async (name) => {
      const value = read(name)
      if (value === undefined) throw new SecretNotFoundError(name, `the variable ${variableOf(name, prefix)}`)
      return value
    },
    list: async (namePrefix = '') =>
      Object.keys(env)
        .filter((variable) => variable.startsWith(prefix) && env[variable] !== undefined)
        .map((variable) => nameOf(variable, prefix))
        .filter((name) => isSecretName(name) && name.startsWith(namePrefix))
        .sort(),
    watch: async (name, listener) => {
      listener({ name, value: read(name) })
      return { stop: async () => {} }
    },
  }
}

/** A `.` reads as `-`: variables cannot hold it. */
function variableOf(name: string, prefix: string): string {
  return prefix + name.replaceAll('/', '__').replaceAll(/[.-]/g, '_').toUpperCase()
}

function nameOf(variable: string, prefix: string): string {
  return variable.slice(prefix.length).toLowerCase().replace('__', '/').replaceAll('_', '-')
}
