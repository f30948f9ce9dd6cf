-- Clusters that tenants bring over the API. Their credentials are sealed with a key that is not in the database.

create table sluice.clusters (
  tenant_id text not null,
  name text not null,
  -- Address of the API server; it holds no credential.
  server text not null,
  authentication text not null check (authentication in ('token', 'client_certificate')),
  -- Null: removed. The row stays for a while, so that a task that still needs the cluster can say what became of it.
  sealed_credentials text,
  base_paths text[] not null default '{}',
  -- Another one with each change: how every process notices.
  revision uuid not null default gen_random_uuid(),
  created_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  changed_by text,
  changed_at timestamptz,
  removed_by text,
  removed_at timestamptz,
  primary key (tenant_id, name),
  check ((sealed_credentials is null) = (removed_at is not null))
);

-- What a process does not know yet, of all tenants: each process connects to every cluster.
create function sluice.changed_clusters(known uuid[])
returns table (tenant text, name text, sealed_credentials text, base_paths text[], revision uuid, removed_by text, removed_at timestamptz)
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select tenant_id, clusters.name, clusters.sealed_credentials, clusters.base_paths, clusters.revision, clusters.removed_by,
    clusters.removed_at
  from clusters where clusters.revision <> all (known)
$$;

revoke all on sluice.clusters from public;
revoke all on function sluice.changed_clusters(uuid[]) from public;
grant execute on function sluice.changed_clusters(uuid[]) to sluice_api, sluice_worker;
-- A tenant's transaction writes sealed credentials and never reads them.
grant select (tenant_id, name, server, authentication, base_paths, revision, created_by, created_at, changed_by, changed_at,
  removed_by, removed_at) on sluice.clusters to sluice_api;
grant insert, delete on sluice.clusters to sluice_api;
grant update (server, authentication, sealed_credentials, base_paths, revision, created_by, created_at, changed_by, changed_at,
  removed_by, removed_at) on sluice.clusters to sluice_api;

alter table sluice.clusters enable row level security;
create policy one_tenant on sluice.clusters to sluice_api using (tenant_id = current_setting('sluice.tenant', true));
