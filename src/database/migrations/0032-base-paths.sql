-- One server may have several control planes behind base paths, with objects of one name in each: the base path is part of
-- which object a record is about.
alter table sluice.resources drop constraint resources_pkey,
  add primary key (tenant_id, cluster, base_path, api_version, kind, namespace, name);
update sluice.resources set target = cluster || base_path || substr(target, length(cluster) + 1) where base_path <> '';

-- The circuit breaker of a cluster that is a tenant's own goes by `tenant/name`: two tenants call different clusters by one
-- name, and one that is away must not keep the other's tasks from starting.
create function sluice.own_cluster_hold(t sluice.tasks) returns sluice.holds
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare
  held holds;
  health cluster_health;
begin
  select * into health from cluster_health h where h.cluster = t.tenant_id || '/' || t.cluster and h.open_until is not null for update;
  if not found then return null; end if;
  if health.open_until <= clock_timestamp() then
    -- Half open: this one tries, the others wait for what it finds.
    update cluster_health set open_until = clock_timestamp() + interval '10 seconds' where cluster = health.cluster;
    return null;
  end if;
  held.task_id := t.task_id;
  held.tenant_id := t.tenant_id;
  held.class := t.class;
  held.job_priority := t.job_priority;
  held.promised := false;
  held.held_at := clock_timestamp();
  held.reason := 'cluster';
  held.scope := 'cluster';
  held.key := t.cluster;
  held.until := health.open_until;
  return held;
end $$;
revoke all on function sluice.own_cluster_hold(sluice.tasks) from public;
grant execute on function sluice.own_cluster_hold(sluice.tasks) to sluice_worker;

-- As in 0004, and asks the breaker of the tenant's own cluster, too. `carried` is what the request brought along: its age,
-- its trace, its flags, and the trace of its approval.
drop function sluice.start_attempts(jsonb, text);
create function sluice.start_attempts(claims jsonb, worker text)
returns table (task_id uuid, held_ms float8, tenant text, operation text, cluster text, input jsonb, attempt int, burned int,
  max_attempts int, retry_of uuid, cancel_requested_by text, remaining_ms float8, elapsed_ms float8, carried jsonb)
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
  c record;
  t tasks;
  held holds;
  started jsonb;
  request jsonb;
  -- Nothing is paused or limited nearly everywhere and always: one look for the whole batch.
  free boolean := not exists (select from pauses) and not exists (select from limits)
    and not exists (select from cluster_health h where h.open_until is not null);
begin
  perform lock_for_start(array(select (x->>'task_id')::uuid from jsonb_array_elements(claims) x), free);
  for c in
    select x.task_id, x.claim from jsonb_to_recordset(claims) as x (task_id uuid, event_id uuid, claim int)
    join tasks k on k.task_id = x.task_id and k.request_event_id = x.event_id
    where k.status in ('SCHEDULED', 'PENDING', 'RUNNING', 'RETRYING') and x.claim > k.claim
    order by x.task_id
  loop
    select * into t from tasks k where k.task_id = c.task_id;
    task_id := t.task_id;
    tenant := t.tenant_id;
    operation := t.operation;
    cluster := t.cluster;
    cancel_requested_by := t.cancel_requested_by;
    held := null;
    -- Somebody wants it to end, or its time is over: nothing may keep it from ending.
    if (not free or t.batch_id is not null) and t.cancel_requested_by is null
      and (t.deadline_at is null or t.deadline_at > clock_timestamp()) then
      held := hold_reason(t);
      if held.task_id is null then held := own_cluster_hold(t); end if;
    end if;
    if held.task_id is not null then
      insert into holds as h values (held.*) on conflict (task_id) do update
        set reason = excluded.reason, scope = excluded.scope, key = excluded.key, promised = excluded.promised,
          until = excluded.until, woken_at = null;
      -- Woken when the reason goes away; the time is a net below that.
      held_ms := greatest(coalesce(extract(epoch from held.until - clock_timestamp()) * 1000, 600000), 0);
      return next;
      continue;
    end if;
    insert into domain_events (task_id, tenant_id, type, actor, payload)
      values (t.task_id, t.tenant_id, 'task.started', worker, jsonb_build_object('claim', c.claim, 'worker', worker))
      returning payload into started;
    delete from holds h where h.task_id = t.task_id;
    if t.class = 'short' and t.fair_tag > fair_clock('short') then perform setval('fair_clock_short', t.fair_tag);
    elsif t.class = 'long' and t.fair_tag > fair_clock('long') then perform setval('fair_clock_long', t.fair_tag);
    end if;
    held_ms := null;
    attempt := (started->>'attempt')::int;
    burned := attempt - t.handed_back;
    max_attempts := t.max_attempts;
    retry_of := t.retry_of;
    remaining_ms := extract(epoch from (started->>'deadline_at')::timestamptz - clock_timestamp()) * 1000;
    elapsed_ms := extract(epoch from clock_timestamp() - coalesce(t.started_at, clock_timestamp())) * 1000;
    -- By its time, too: that is one partition to look into, not all of them.
    select e.payload into request from domain_events e
      where e.task_id = t.task_id and e.event_id = t.request_event_id and e.at = t.created_at;
    input := request->'input';
    carried := jsonb_build_object('ageMs', extract(epoch from clock_timestamp() - t.created_at) * 1000,
      'traceparent', request->'traceparent', 'flags', coalesce(request->'flags', '{}'),
      'approval', case when t.ticket_id is not null then (select d.payload->>'traceparent' from domain_events d
        where d.task_id = t.task_id and d.type = 'task.approved' order by d.seq desc limit 1) end);
    return next;
  end loop;
end $$;
revoke all on function sluice.start_attempts(jsonb, text) from public;
grant execute on function sluice.start_attempts(jsonb, text) to sluice_worker;
