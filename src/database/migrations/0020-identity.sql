-- Who may come in: API tokens, roles, browser sessions, one-time codes and passes. Secrets are kept as SHA-256 only.

create table sluice.role_bindings (
  tenant_id text not null,
  principal text not null,
  role text not null check (role in ('viewer', 'requester', 'operator', 'approver', 'admin')),
  granted_by text not null,
  granted_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, principal, role)
);
create index role_bindings_principal on sluice.role_bindings (principal);

create table sluice.api_tokens (
  token_id uuid primary key,
  tenant_id text not null,
  principal text not null,
  name text not null,
  -- What a person recognises the token by: its first characters.
  prefix text not null,
  hash bytea not null unique,
  -- Permissions; null means all that the principal's roles allow.
  scopes text[],
  created_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  revoked_by text
);
create index api_tokens_newest on sluice.api_tokens (tenant_id, token_id);

-- A session, a code and a pass belong to a principal, not to a tenant: the request names the tenant. What was made with
-- a token, or in a session, ends with it.
create table sluice.sessions (
  hash bytea primary key,
  principal text not null,
  token_id uuid references sluice.api_tokens on delete cascade,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);
create index sessions_expiry on sluice.sessions (expires_at);

create table sluice.one_time_secrets (
  hash bytea primary key,
  kind text not null check (kind in ('code', 'pass')),
  principal text not null,
  token_id uuid references sluice.api_tokens on delete cascade,
  session_hash bytea references sluice.sessions on delete cascade,
  expires_at timestamptz not null
);
create index one_time_secrets_expiry on sluice.one_time_secrets (expires_at);
create index one_time_secrets_session on sluice.one_time_secrets (session_hash) where session_hash is not null;

-- A caller is known before the tenant is: these look into all tenants, for exactly one secret or principal.

create function sluice.roles_of(of_principal text)
returns table (tenant text, role text)
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select tenant_id, role_bindings.role from role_bindings where principal = of_principal order by tenant_id, role_bindings.role
$$;

-- A token that is neither revoked nor expired, by its hash or by its id.
create function sluice.live_token(by_hash bytea, by_id uuid)
returns table (token_id uuid, tenant text, principal text, scopes text[], expires_at timestamptz)
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select t.token_id, t.tenant_id, t.principal, t.scopes, t.expires_at from api_tokens t
  where (t.hash = by_hash or t.token_id = by_id) and t.revoked_at is null
    and (t.expires_at is null or t.expires_at > clock_timestamp())
$$;

create function sluice.touch_tokens(used uuid[])
returns void
language sql security definer set search_path = sluice, pg_catalog as $$
  update api_tokens set last_used_at = clock_timestamp() where token_id = any(used)
$$;

revoke all on function sluice.roles_of(text), sluice.live_token(bytea, uuid), sluice.touch_tokens(uuid[]) from public;
grant execute on function sluice.roles_of(text), sluice.live_token(bytea, uuid), sluice.touch_tokens(uuid[]) to sluice_api;

-- Everything but the hash may be read; what a token is never changes, but for its end.
revoke all on sluice.role_bindings, sluice.api_tokens, sluice.sessions, sluice.one_time_secrets from public;
grant select (token_id, tenant_id, principal, name, prefix, scopes, created_by, created_at, expires_at, last_used_at,
  revoked_at, revoked_by) on sluice.api_tokens to sluice_api;
grant insert on sluice.api_tokens to sluice_api;
grant update (revoked_at, revoked_by) on sluice.api_tokens to sluice_api;
grant select, insert, delete on sluice.role_bindings to sluice_api;
grant select, insert, delete on sluice.sessions, sluice.one_time_secrets to sluice_api;

do $$
declare t text;
begin
  foreach t in array array['role_bindings', 'api_tokens'] loop
    execute format('alter table sluice.%I enable row level security', t);
    execute format('create policy one_tenant on sluice.%I to sluice_api using (tenant_id = current_setting(''sluice.tenant'', true))', t);
  end loop;
end $$;
