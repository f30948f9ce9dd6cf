import { InvalidArgumentError } from './platform-error.ts'

const part = '[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?'
const namePattern = new RegExp(`^${part}(?:/${part})?$`)

/** Refuses what is not a secret's name, above all anything that would leave a folder. */
export function requireSecretName(name: string): void {
  if (!namePattern.test(name) || name.includes('..')) {
    throw new InvalidArgumentError(
      `"${name}" is not a secret's name: use one or two parts of lower-case letters, digits, "-" and ".", joined by "/"`,
    )
  }
}

export function isSecretName(name: string): boolean {
  return namePattern.test(name) && !name.includes('..')
}
