import type { Client, Pool } from 'pg'

/** Objects of the schema `sluice` with a digest of how each is defined. */
export type Catalogue = ReadonlyMap<string, string>

type Queryable = Pick<Client, 'query'> | Pick<Pool, 'query'>

/** Since migration 0039. */
export async function isCatalogueRecorded(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ there: boolean }>(`select to_regclass('sluice.catalogue') is not null as there`)
  return rows[0]?.there === true
}

/** As it is. Partitions come and go, and follow their parent. */
export async function readCatalogue(client: Queryable): Promise<Catalogue> {
  return toMap(await rowsOf(client, describeObjects))
}

/** As the migrations left it. */
export async function readRecordedCatalogue(client: Queryable): Promise<Catalogue> {
  return toMap(await rowsOf(client, 'select object, digest from sluice.catalogue'))
}

/** Keeps how these objects are from now on, and forgets those that are gone. */
export async function recordCatalogue(
  client: Queryable,
  { changed, gone }: { readonly changed: Catalogue; readonly gone: readonly string[] },
): Promise<void> {
  await client.query('delete from sluice.catalogue where object = any($1)', [gone])
  await client.query(
    `insert into sluice.catalogue (object, digest) select * from unnest($1::text[], $2::text[])
     on conflict (object) do update set digest = excluded.digest`,
    [[...changed.keys()], [...changed.values()]],
  )
}

async function rowsOf(client: Queryable, text: string): Promise<{ object: string; digest: string }[]> {
  // Both kinds of connection answer so; their overloads have no common signature.
  const query = client.query.bind(client) as (text: string) => Promise<{ rows: { object: string; digest: string }[] }>
  return (await query(text)).rows
}

const toMap = (rows: readonly { object: string; digest: string }[]): Catalogue =>
  new Map(rows.map(({ object, digest }) => [object, digest]))

const grantee = `case g.grantee when 0 then 'public' else g.grantee::regrole::text end`
// What somebody granted to a role of theirs is theirs.
const ours = `(g.grantee = 0 or g.grantee::regrole::text like 'sluice\\_%')`

// PostgreSQL writes definitions a little differently from version to version: the version is an object, too.
const describeObjects = `
  with relations as (
    select c.* from pg_class c
    where c.relnamespace = 'sluice'::regnamespace and not c.relispartition
  ), objects (object, definition) as (
    select 'server', (current_setting('server_version_num')::int / 10000)::text
    union all select 'table ' || r.relname, format('%s %s %s', r.relkind, r.relrowsecurity,
        array_to_string(array(select o from unnest(r.reloptions) o order by o), ', '))
      from relations r where r.relkind in ('r', 'p')
    union all select format('column %s.%s', r.relname, a.attname), format('%s %s %s %s', format_type(a.atttypid, a.atttypmod),
        a.attnotnull, a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
      from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum where r.relkind in ('r', 'p')
    union all select 'index ' || r.relname, format('%s %s', pg_get_indexdef(r.oid), i.indisvalid)
      from relations r join pg_index i on i.indexrelid = r.oid
    union all select format('constraint %s.%s', r.relname, k.conname), format('%s %s', pg_get_constraintdef(k.oid), k.convalidated)
      from relations r join pg_constraint k on k.conrelid = r.oid where k.contype <> 'n'
    union all select format('trigger %s.%s', r.relname, t.tgname), format('%s %s', t.tgenabled, pg_get_triggerdef(t.oid))
      from relations r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
    union all select format('policy %s.%s', r.relname, p.polname), format('%s %s %s %s %s', p.polcmd, p.polpermissive,
        array(select rolname from pg_roles where oid = any(p.polroles) order by 1),
        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
      from relations r join pg_policy p on p.polrelid = r.oid
    union all select format('function %s', p.oid::regprocedure), pg_get_functiondef(p.oid)
      from pg_proc p where p.pronamespace = 'sluice'::regnamespace and p.prokind = 'f'
    union all select format('grants on %s to %s', r.relname, ${grantee}), string_agg(g.privilege_type, ', ' order by g.privilege_type)
      from relations r cross join lateral aclexplode(r.relacl) g where ${ours} and r.relkind in ('r', 'p', 'S')
      group by r.relname, g.grantee
    union all select format('grants on function %s to %s', p.oid::regprocedure, ${grantee}), string_agg(g.privilege_type, ', ')
      from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
      where p.pronamespace = 'sluice'::regnamespace and ${ours} group by p.oid, g.grantee
  )
  select object, md5(coalesce(definition, '')) as digest from objects`
