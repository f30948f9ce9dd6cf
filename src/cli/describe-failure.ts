import { UsageError } from './usage-error.ts'

/**
 * One sentence for the terminal. An error of ours says it itself; of the others those that a person meets are told in
 * terms of what can be changed.
 */
export function describeFailure(error: unknown, databaseUrl: string | undefined): string {
  if (!(error instanceof Error)) return `Sluice failed: ${String(error)}`
  // Several addresses of one name were tried; they tell the same story.
  if (error instanceof AggregateError && error.errors[0] instanceof Error)
    return describeFailure(error.errors[0], databaseUrl)
  if (error instanceof UsageError) return error.message
  const details = readDetails(error)
  if (databaseUrl !== undefined && (details.syscall === 'connect' || details.syscall === 'getaddrinfo')) {
    return `The PostgreSQL of DATABASE_URL (${hostOf(databaseUrl)}) cannot be reached (${error.message}).`
  }
  // PostgreSQL's classes 28 (who you are), 3D and 53 (what there is): wrong in the URL, or on the server.
  if (databaseUrl !== undefined && /^(28|3D|53)...$/.test(details.code)) {
    return `The PostgreSQL of DATABASE_URL (${hostOf(databaseUrl)}) refuses the connection (${error.message}).`
  }
  // Node's codes and PostgreSQL's are in capitals; words in small letters are ours, with a message for people.
  if (/^[a-z_]+$/.test(details.code)) return error.message
  return `Sluice failed: ${error.message.split('\n')[0] || error.name}`
}

/** The stack, for those who asked for it with SLUICE_DEBUG=1. */
export function describeStack(error: unknown, env: NodeJS.ProcessEnv): string {
  if (env['SLUICE_DEBUG'] !== '1' || !(error instanceof Error)) return ''
  const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack ?? error.cause.message}` : ''
  return `${error.stack ?? error.message}${cause}\n`
}

function readDetails(error: Error): { code: string; syscall: string } {
  return {
    code: 'code' in error ? String(error.code) : '',
    syscall: 'syscall' in error ? String(error.syscall) : '',
  }
}

function hostOf(databaseUrl: string): string {
  return new URL(databaseUrl).host || 'local socket'
}
