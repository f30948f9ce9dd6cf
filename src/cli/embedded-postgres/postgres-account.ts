import { readFile } from 'node:fs/promises'
import { CannotStartError } from '../cannot-start-error.ts'

/** The unprivileged user that runs PostgreSQL where this process is the superuser's. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/**
 * Chooses who runs PostgreSQL: undefined means the user of this process. PostgreSQL refuses to run as root, so root
 * lends it to the owner of the cluster that exists, else to the machine's user `postgres`, else to `nobody`.
 * No user is created: `initdb` only wants one that has a name.
 */
export async function chooseAccount(clusterOwner: Account | undefined): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined
  if (process.platform !== 'linux') {
    throw new CannotStartError(
      'PostgreSQL does not run as root. Start Sluice as an ordinary user, or set DATABASE_URL to a PostgreSQL 14 or newer.',
    )
  }
  if (clusterOwner !== undefined && clusterOwner.uid !== 0) return clusterOwner
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '')
  for (const wanted of ['postgres', 'nobody']) {
    for (const line of users.split('\n')) {
      const [name, , uid, gid] = line.split(':')
      if (name === wanted && Number(uid) > 0 && Number(gid) > 0) return { uid: Number(uid), gid: Number(gid) }
    }
  }
  throw new CannotStartError(
    'PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody` to run it. ' +
      'Start Sluice as an ordinary user, or set DATABASE_URL to a PostgreSQL 14 or newer.',
  )
}
