-- Policies and approval tickets. A ticket holds a task before any job exists.

-- Every policy that was ever active; the newest is. It speaks for all tenants.
create table sluice.policies (
  version int generated always as identity primary key,
  digest text not null,
  source text not null,
  loaded_by text not null,
  loaded_at timestamptz not null default clock_timestamp()
);
create trigger policies_append_only before update or delete or truncate on sluice.policies
  for each statement execute function sluice.refuse_write('the history of policies is append-only');

create table sluice.tickets (
  ticket_id uuid primary key,
  task_id uuid not null unique,
  tenant_id text not null,
  state text not null default 'open' check (state in ('open', 'approved', 'rejected', 'withdrawn', 'expired', 'cancelled')),
  rule text not null,
  rule_digest text not null,
  policy_version int not null,
  environment text not null,
  -- SHA-256 of what will run: operation, input and options. A decision repeats it.
  payload_hash text not null,
  -- [{ name, quorum, roles, groups }] in order; `stage` is the one being decided.
  stages jsonb not null,
  stage int not null default 0,
  requested_by text not null,
  opened_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  closed_at timestamptz,
  closed_by text,
  check ((state = 'open') = (closed_at is null))
);
create index tickets_open on sluice.tickets (tenant_id, ticket_id) where state = 'open';
create index tickets_open_by_requester on sluice.tickets (tenant_id, requested_by) where state = 'open';
create index tickets_expiry on sluice.tickets (expires_at) where state = 'open';
create index tickets_newest on sluice.tickets (tenant_id, ticket_id);

-- What people said. Dropped ones were given under a rule that has changed since; they count no more and stay.
create table sluice.decisions (
  decision_id bigint generated always as identity primary key,
  ticket_id uuid not null references sluice.tickets,
  tenant_id text not null,
  stage int not null,
  decision text not null check (decision in ('approve', 'reject')),
  principal text not null,
  comment text,
  payload_hash text not null,
  rule_digest text not null,
  diff_digest text,
  dropped_at timestamptz,
  at timestamptz not null default clock_timestamp()
);
create unique index decisions_once on sluice.decisions (ticket_id, principal) where dropped_at is null;

create index resources_by_target on sluice.resources (tenant_id, target);

-- Where targets (`cluster:group/Kind/namespace/name`) that exist were placed when they were made. Rows bring their own
-- tenant, as in accept_tasks. A target without a record has no row; one whose request is no longer in the log has null.
create function sluice.target_placements(targets jsonb) returns table (idx int, placement jsonb)
language sql stable security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
  select x.idx, (select nullif(e.payload->'placement', 'null') from domain_events e
      where e.task_id = r.task_id and e.type = 'task.requested' limit 1)
  from jsonb_to_recordset(targets) as x (idx int, tenant text, target text)
  join resources r on r.tenant_id = x.tenant and r.target = x.target and r.state = 'present'
$$;

-- Opens the ticket of a request in the transaction that accepts it. Null when opened; otherwise whose limit is reached.
create function sluice.open_ticket(tenant text, task uuid, actor text, payload jsonb) returns text
language plpgsql security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare
  t jsonb := payload->'ticket';
begin
  -- Counted under a lock of the tenant's: two acceptances at once cannot both take the last place.
  perform pg_advisory_xact_lock(hashtextextended('sluice.open_ticket/' || tenant, 0));
  if (select count(*) from tickets k where k.tenant_id = tenant and k.requested_by = actor and k.state = 'open')
      >= (t->>'limit_per_requester')::int then
    return 'requester';
  end if;
  if (select count(*) from tickets k where k.tenant_id = tenant and k.state = 'open') >= (t->>'limit_per_tenant')::int then
    return 'tenant';
  end if;
  insert into tickets (ticket_id, task_id, tenant_id, rule, rule_digest, policy_version, environment, payload_hash,
      stages, requested_by, expires_at)
    values ((payload->>'ticket_id')::uuid, task, tenant, t->>'rule', t->>'rule_digest', (t->>'policy_version')::int,
      payload->>'environment', t->>'payload_hash', t->'stages', actor,
      clock_timestamp() + make_interval(secs => (t->>'expires_in_ms')::float8 / 1000));
  return null;
end $$;

revoke all on sluice.policies, sluice.tickets, sluice.decisions from public;
revoke all on function sluice.target_placements(jsonb), sluice.open_ticket(text, uuid, text, jsonb) from public;
grant select, insert on sluice.policies to sluice_api;
grant select on sluice.policies to sluice_worker, sluice_feed;
grant select, update on sluice.tickets to sluice_api, sluice_worker;
grant select, insert, update on sluice.decisions to sluice_api;
grant select on sluice.decisions to sluice_worker;
grant select on sluice.tickets, sluice.decisions to sluice_feed;
grant execute on function sluice.target_placements(jsonb) to sluice_api;

do $$
declare t text;
begin
  foreach t in array array['tickets', 'decisions'] loop
    execute format('alter table sluice.%I enable row level security', t);
    execute format('create policy one_tenant on sluice.%I to sluice_api using (tenant_id = current_setting(''sluice.tenant'', true))', t);
    execute format('create policy every_tenant on sluice.%I to sluice_worker, sluice_feed using (true) with check (true)', t);
  end loop;
end $$;
