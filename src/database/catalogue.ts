import type { Client, Pool } from 'pg'
import {
  type Catalogue,
  isCatalogueRecorded,
  readCatalogue,
  readRecordedCatalogue,
  recordCatalogue,
} from './catalogue.sql.ts'

/** Before a migration. Empty where nothing was recorded yet. */
export async function readCatalogueIfRecorded(client: Client): Promise<Catalogue> {
  return (await isCatalogueRecorded(client)) ? readCatalogue(client) : new Map()
}

/**
 * Records what a migration, in its transaction, made of the catalogue: what it changed, and nothing else. What somebody
 * changed by hand before it stays recorded as it should be.
 */
export async function recordMigrated(client: Client, before: Catalogue): Promise<void> {
  if (!(await isCatalogueRecorded(client))) return
  const [now, recorded] = [await readCatalogue(client), await readRecordedCatalogue(client)]
  const first = recorded.size === 0
  const changed = [...now].filter(([object, digest]) => first || before.get(object) !== digest)
  const gone = [...before.keys()].filter((object) => !now.has(object))
  await recordCatalogue(client, { changed: new Map(changed), gone })
}

/** After PostgreSQL was upgraded: it may write all definitions differently now. */
export async function recordUpgraded(client: Client): Promise<void> {
  const [now, recorded] = [await readCatalogue(client), await readRecordedCatalogue(client)]
  if (now.get('server') === recorded.get('server')) return
  await recordCatalogue(client, { changed: now, gone: [...recorded.keys()].filter((object) => !now.has(object)) })
}

export interface CatalogueDrift {
  /** Objects that should be there. */
  readonly missing: readonly string[]
  /** Objects that are defined otherwise than a migration left them. */
  readonly changed: readonly string[]
  /** Whether PostgreSQL was upgraded since, so that the rest says nothing. */
  readonly otherServer: boolean
}

/** What is otherwise than the migrations left it. What somebody has added is theirs. */
export async function findDrift(pool: Pool): Promise<CatalogueDrift> {
  const [now, recorded] = [await readCatalogue(pool), await readRecordedCatalogue(pool)]
  const objects = [...recorded.keys()].filter((object) => object !== 'server')
  return {
    otherServer: recorded.get('server') !== now.get('server'),
    missing: objects.filter((object) => !now.has(object)),
    changed: objects.filter((object) => now.has(object) && now.get(object) !== recorded.get(object)),
  }
}
