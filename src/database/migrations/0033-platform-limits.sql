-- A limit is the platform's (tenant_id '') and counts every tenant's tasks, or a tenant's own and counts only those. Until
-- here all of them counted every tenant's, so that is what they stay.
alter table sluice.limits add column tenant_id text not null default '';
alter table sluice.limits alter column tenant_id drop default;
alter table sluice.limits drop constraint limits_pkey, add primary key (tenant_id, scope, key);
-- What a hold names the limit by. Neither a tenant nor a key has a slash.
alter table sluice.limits add column hold_key text not null
  generated always as (case when tenant_id = '' then key else tenant_id || '/' || key end) stored;

-- As for pauses: without a tenant, the API's transaction is the platform's. A tenant sees what the platform set for all,
-- and for itself.
alter table sluice.limits enable row level security;
create policy seen on sluice.limits for select to sluice_api
  using (tenant_id = current_setting('sluice.tenant', true)
    or tenant_id = '' and (scope <> 'tenant' or current_setting('sluice.tenant', true) in (key, '')));
create policy own_insert on sluice.limits for insert to sluice_api
  with check (tenant_id = current_setting('sluice.tenant', true));
create policy own_update on sluice.limits for update to sluice_api
  using (tenant_id = current_setting('sluice.tenant', true));
create policy own_delete on sluice.limits for delete to sluice_api
  using (tenant_id = current_setting('sluice.tenant', true));
create policy every_tenant on sluice.limits to sluice_worker using (true) with check (true);

-- The functions of 0004, for limits of both kinds.

create or replace function sluice.hold_reason(t sluice.tasks) returns sluice.holds
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare
  held holds;
  l limits;
  running int;
  health cluster_health;
  wait_s float8;
  was_promised boolean;
begin
  held.task_id := t.task_id;
  held.tenant_id := t.tenant_id;
  held.class := t.class;
  held.job_priority := t.job_priority;
  held.promised := false;
  held.held_at := clock_timestamp();

  if exists (select from pauses p where p.tenant_id in ('', t.tenant_id) and p.operation in ('', t.operation)) then
    held.reason := 'paused';
    held.scope := '';
    held.key := '';
    return held;
  end if;

  if t.batch_id is not null then
    -- Its row is the counter: concurrent admissions of one batch go one by one.
    perform from batches b where b.batch_id = t.batch_id and (b.concurrency is not null or b.stopping) for update;
    if found then
      select count(*) into running from tasks x where x.batch_id = t.batch_id and x.task_id <> t.task_id
        and x.status in ('RUNNING', 'WAITING', 'RETRYING');
      if exists (select from batches b where b.batch_id = t.batch_id and (b.stopping or running >= b.concurrency)) then
        held.reason := 'batch';
        held.scope := 'batch';
        held.key := t.batch_id::text;
        return held;
      end if;
    end if;
  end if;

  if t.cluster is not null then
    select * into health from cluster_health h where h.cluster = t.cluster and h.open_until is not null for update;
    if found then
      if health.open_until > clock_timestamp() then
        held.reason := 'cluster';
        held.scope := 'cluster';
        held.key := t.cluster;
        held.until := health.open_until;
        return held;
      end if;
      -- Half open: this one tries, the others wait for what it finds.
      update cluster_health set open_until = clock_timestamp() + interval '10 seconds' where cluster = t.cluster;
    end if;
  end if;

  select coalesce((select h.promised from holds h where h.task_id = t.task_id), false) into was_promised;
  for l in
    select * from limits x where x.tenant_id in ('', t.tenant_id)
      and (x.scope, x.key) in (('tenant', t.tenant_id), ('cluster', t.cluster), ('operation', t.operation))
    order by x.tenant_id, x.scope, x.key for update
  loop
    if l.max_running is not null then
      running := sluice.running_under(l, t.task_id);
      if running >= l.max_running then
        held.reason := 'limit';
        held.scope := l.scope;
        held.key := l.hold_key;
        held.promised := was_promised;
        return held;
      end if;
    end if;
    if l.per_minute is not null and not was_promised then
      l.tokens := least(l.burst, l.tokens + extract(epoch from clock_timestamp() - l.refilled_at) * l.per_minute / 60.0) - 1;
      update limits set tokens = l.tokens, refilled_at = clock_timestamp()
        where tenant_id = l.tenant_id and scope = l.scope and key = l.key;
      if l.tokens < 0 then
        wait_s := -l.tokens * 60.0 / l.per_minute;
        held.reason := 'rate';
        held.scope := l.scope;
        held.key := l.hold_key;
        held.promised := true;
        held.until := clock_timestamp() + make_interval(secs => wait_s);
        return held;
      end if;
    end if;
  end loop;
  return null;
end $$;

-- How many tasks run that a limit counts, beside one.
create function sluice.running_under(l sluice.limits, beside uuid) returns int
language plpgsql stable set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
begin
  return case l.scope
    when 'tenant' then (select count(*) from tasks x
      where x.tenant_id = l.key and x.status = 'RUNNING' and x.task_id is distinct from beside)
    when 'cluster' then (select count(*) from tasks x
      where x.cluster = l.key and x.status = 'RUNNING' and x.task_id is distinct from beside and l.tenant_id in ('', x.tenant_id))
    else (select count(*) from tasks x
      where x.operation = l.key and x.status = 'RUNNING' and x.task_id is distinct from beside and l.tenant_id in ('', x.tenant_id)) end;
end $$;

-- The locks of all that start_attempts looks at, in the one order that every transaction keeps: tasks, holds, clusters,
-- limits, batches. Taken claim by claim, two starts, or a start and a cancelled batch, would wait for each other.
create function sluice.lock_for_start(ids uuid[], free boolean) returns void
language plpgsql security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare counted tasks[] := array(select t from tasks t where t.task_id = any(ids) and (not free or t.batch_id is not null));
begin
  if cardinality(counted) = 0 then return; end if;
  perform from tasks t where t.task_id = any(ids) order by t.task_id for update;
  perform from holds h where h.task_id = any(ids) order by h.task_id for update;
  perform from cluster_health h where h.open_until is not null and exists (select from unnest(counted) c
      where h.cluster in (c.cluster, c.tenant_id || '/' || c.cluster)) order by h.cluster for update;
  perform from limits l where exists (select from unnest(counted) c where l.tenant_id in ('', c.tenant_id)
      and (l.scope, l.key) in (('tenant', c.tenant_id), ('cluster', c.cluster), ('operation', c.operation)))
    order by l.tenant_id, l.scope, l.key for update;
  perform from batches b where b.batch_id in (select c.batch_id from unnest(counted) c)
    and (b.concurrency is not null or b.stopping) order by b.batch_id for update;
end $$;

create or replace function sluice.releasable_holds(at_most int) returns table (task_id uuid, class text)
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
  g record;
  free int;
  ended uuid[];
  chosen uuid[] := '{}';
begin
  -- Ended meanwhile: nothing to hold.
  ended := array(select h.task_id from holds h join tasks t on t.task_id = h.task_id where t.done);
  for g in select distinct reason, scope, key from holds where woken_at is null or woken_at < clock_timestamp() - interval '3 seconds'
  loop
    free := at_most;
    if g.reason in ('rate', 'cluster') then
      -- Their jobs have their own time.
      continue;
    elsif g.reason = 'limit' then
      select coalesce(l.max_running, at_most) - running_under(l, null) into free from limits l
        where l.scope = g.scope and l.hold_key = g.key;
      free := coalesce(free, at_most);
    elsif g.reason = 'batch' then
      select case when b.stopping then 0 else coalesce(b.concurrency, at_most) - (select count(*) from tasks x
          where x.batch_id = b.batch_id and x.status in ('RUNNING', 'WAITING', 'RETRYING')) end
        into free from batches b where b.batch_id = g.key::uuid;
      free := coalesce(free, at_most);
    end if;
    free := least(free, at_most) - case when g.reason in ('limit', 'batch') then (select count(*)::int from holds h
      where (h.reason, h.scope, h.key) = (g.reason, g.scope, g.key) and h.woken_at >= clock_timestamp() - interval '3 seconds') else 0 end;
    chosen := chosen || array(select x.task_id from holds x join tasks t on t.task_id = x.task_id
      where (x.reason, x.scope, x.key) = (g.reason, g.scope, g.key) and not t.done
        and (x.woken_at is null or x.woken_at < clock_timestamp() - interval '3 seconds')
        and (x.reason <> 'paused' or not exists (select from pauses p
          where p.tenant_id in ('', x.tenant_id) and p.operation in ('', t.operation)))
      order by x.job_priority desc, x.task_id limit greatest(free, 0));
  end loop;
  -- In the order in which start_attempts has them, too.
  perform from holds h where h.task_id = any(chosen || ended) order by h.task_id for update;
  delete from holds h where h.task_id = any(ended);
  return query update holds h set woken_at = clock_timestamp() where h.task_id = any(chosen)
    and (h.woken_at is null or h.woken_at < clock_timestamp() - interval '3 seconds') returning h.task_id, h.class;
end $$;

create or replace function sluice.explain_tasks(ids uuid[])
returns table (task_id uuid, reason text, scope text, key text, until timestamptz, queue_position int, workers_alive int,
  paused_by text, max_running int, workers_know boolean)
language sql stable security definer set search_path = sluice, pg_catalog as $$
  with alive as (
    select count(*)::int as n from workers
    where role <> 'api' and heartbeat_at > clock_timestamp() - interval '15 seconds'
  ), asked as (
    select t.* from tasks t where t.task_id = any(ids)
      and (current_setting('role') <> 'sluice_api' or t.tenant_id = current_setting('sluice.tenant', true))
  ), ahead as (
    select q.task_id, row_number() over (partition by q.class order by q.job_priority desc, q.task_id)::int as n
    from (select distinct class from asked where status = 'PENDING') c
    cross join lateral (select task_id, class, job_priority from tasks where class = c.class and status = 'PENDING'
      order by job_priority desc, task_id limit 1000) q
  )
  select a.task_id, h.reason, h.scope, coalesce(l.key, h.key), h.until, ahead.n, alive.n,
    (select p.paused_by from pauses p where p.tenant_id in ('', a.tenant_id) and p.operation in ('', a.operation) limit 1),
    case when h.reason = 'batch' then (select b.concurrency from batches b where b.batch_id = a.batch_id)
      else l.max_running end,
    exists (select from workers w where w.role <> 'api' and w.heartbeat_at > clock_timestamp() - interval '15 seconds'
      and a.operation = any(w.operations))
  from asked a cross join alive left join holds h on h.task_id = a.task_id left join ahead on ahead.task_id = a.task_id
    left join limits l on l.scope = h.scope and l.hold_key = h.key
$$;

revoke all on function sluice.running_under(sluice.limits, uuid), sluice.lock_for_start(uuid[], boolean) from public;
grant execute on function sluice.running_under(sluice.limits, uuid), sluice.lock_for_start(uuid[], boolean) to sluice_worker;
