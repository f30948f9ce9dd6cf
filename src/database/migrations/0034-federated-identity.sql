-- Principals of an identity provider; roles of groups, and roles that hold in some environments only.

-- `principal` is the group's name where the subject is a group. Without environments the role holds everywhere.
alter table sluice.role_bindings add column subject text not null default 'principal' check (subject in ('principal', 'group'));
alter table sluice.role_bindings add column environments text[] check (cardinality(environments) > 0);
alter table sluice.role_bindings drop constraint role_bindings_pkey, add primary key (tenant_id, subject, principal, role);
grant update (environments, granted_by, granted_at) on sluice.role_bindings to sluice_api;

-- A process that is older than this file knows no limits: it is told of unlimited roles only.
create or replace function sluice.roles_of(of_principal text)
returns table (tenant text, role text)
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select tenant_id, role_bindings.role from role_bindings
  where subject = 'principal' and principal = of_principal and environments is null
  order by tenant_id, role_bindings.role
$$;

-- A caller is known before the tenant is: this looks into all tenants, for one principal and its groups.
create function sluice.grants_of(of_principal text, of_groups text[])
returns table (tenant text, role text, environments text[])
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select tenant_id, b.role, b.environments from role_bindings b
  where b.subject = 'principal' and b.principal = of_principal or b.subject = 'group' and b.principal = any(of_groups)
  order by tenant_id, b.role, b.environments
$$;

-- Who has the token in hand besides its principal: who made it, and whoever made the token that it was made with. Null in
-- tokens that are older than this: their maker alone.
alter table sluice.api_tokens add column made_by text[];

-- As live_token, with who made the token.
create function sluice.live_api_token(by_hash bytea, by_id uuid)
returns table (token_id uuid, tenant text, principal text, scopes text[], made_by text[], expires_at timestamptz)
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select t.token_id, t.tenant_id, t.principal, t.scopes, coalesce(t.made_by, array[t.created_by]), t.expires_at from api_tokens t
  where (t.hash = by_hash or t.token_id = by_id) and t.revoked_at is null
    and (t.expires_at is null or t.expires_at > clock_timestamp())
$$;

revoke all on function sluice.grants_of(text, text[]), sluice.live_api_token(bytea, uuid) from public;
grant execute on function sluice.grants_of(text, text[]), sluice.live_api_token(bytea, uuid) to sluice_api;

-- What the provider said of a principal when it let it in: kept with what was opened then, and with nothing else.
alter table sluice.sessions add column issuer text;
alter table sluice.sessions add column groups text[] not null default '{}';
alter table sluice.sessions add column tenants text[];
alter table sluice.one_time_secrets add column issuer text;
alter table sluice.one_time_secrets add column groups text[] not null default '{}';
alter table sluice.one_time_secrets add column tenants text[];
-- The end of the proof that the secret was made with: nothing that comes of it lasts longer.
alter table sluice.one_time_secrets add column proof_until timestamptz;
