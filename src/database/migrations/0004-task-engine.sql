-- What the engine needs between 202 and the end: who is alive, what is held back and why, batches, schedules, retention.

-- One row per process that is up. A fresh id per boot: a row whose heartbeat stopped is a process that died.
create table sluice.workers (
  worker_id text primary key,
  role text not null check (role in ('all', 'api', 'worker')),
  version text not null,
  slots int not null,
  host text not null,
  pid int not null,
  operations text[] not null default '{}',
  running int not null default 0,
  -- The process's own clock against the database's, at the last heartbeat.
  clock_skew_ms int not null default 0,
  started_at timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);

-- Paused: no attempt starts. The empty string stands for every tenant, or every operation.
create table sluice.pauses (
  tenant_id text not null default '',
  operation text not null default '',
  paused_by text not null,
  reason text,
  paused_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, operation)
);

-- How many attempts run at once, and how many start per minute. Whoever admits an attempt holds the row's lock.
create table sluice.limits (
  scope text not null check (scope in ('tenant', 'cluster', 'operation')),
  key text not null,
  max_running int check (max_running >= 0),
  per_minute int check (per_minute > 0),
  burst int not null default 1 check (burst > 0),
  -- Starts that may happen now; below zero, starts that were promised for later.
  tokens float8 not null default 1,
  refilled_at timestamptz not null default clock_timestamp(),
  set_by text not null,
  primary key (scope, key)
);

-- The circuit breaker: a cluster that failed again and again is left alone until `open_until`; then one attempt tries.
create table sluice.cluster_health (
  cluster text primary key,
  failures int not null default 0,
  open_until timestamptz,
  last_error text,
  updated_at timestamptz not null default clock_timestamp()
);

-- Jobs that a worker took and gave back, unburned, because something forbids their start now.
create table sluice.holds (
  task_id uuid primary key,
  tenant_id text not null,
  class text not null,
  reason text not null check (reason in ('paused', 'limit', 'rate', 'cluster', 'batch')),
  scope text not null default '',
  key text not null default '',
  job_priority int not null,
  -- The rate limit has promised this start: it takes no second token.
  promised boolean not null default false,
  until timestamptz,
  woken_at timestamptz,
  held_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0.01);
create index holds_order on sluice.holds (reason, scope, key, job_priority desc, task_id);

create table sluice.batches (
  batch_id uuid primary key,
  tenant_id text not null,
  requested_by text not null,
  on_error text not null check (on_error in ('continue', 'stop')),
  concurrency int check (concurrency > 0),
  total int not null,
  -- Tasks per status, kept by the log: a trigger counts at commit whatever an event moved.
  counts jsonb not null default '{}',
  -- An item failed and `on_error` says stop: nothing more starts, and a worker cancels the rest.
  stopping boolean not null default false,
  retry_of uuid,
  created_at timestamptz not null default clock_timestamp(),
  completed_at timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
create index batches_newest on sluice.batches (tenant_id, batch_id);
create index batches_stopping on sluice.batches (batch_id) where stopping and completed_at is null;

create table sluice.schedules (
  schedule_id uuid primary key,
  tenant_id text not null,
  name text not null,
  operation text not null,
  input jsonb not null,
  options jsonb not null default '{}',
  cron text not null,
  time_zone text not null,
  start_at timestamptz,
  paused boolean not null default false,
  missed text not null default 'skip' check (missed in ('skip', 'run_once')),
  overlap text not null default 'skip' check (overlap in ('skip', 'allow')),
  owner text not null,
  -- Null: the expression has no further time. Whoever moves it on is the one who fires.
  next_run_at timestamptz,
  last_run_at timestamptz,
  last_task_id uuid,
  last_outcome text,
  created_at timestamptz not null default clock_timestamp(),
  unique (tenant_id, name)
);
create index schedules_due on sluice.schedules (next_run_at) where not paused;

-- What a dropped partition of the log held: audit verification begins behind it.
create table sluice.log_checkpoints (
  partition text primary key,
  from_seq bigint not null,
  to_seq bigint not null,
  events bigint not null,
  digest text not null,
  dropped_at timestamptz not null default clock_timestamp()
);

-- Fair queueing: each waiting task has a tag, one more than its tenant's last; the lowest runs first. A tenant that
-- comes new begins at the tag that runs now, so that it takes its turn at once and nobody's backlog is in its way.
-- The clock is a sequence because it is moved outside transactions, without a lock.
create sequence sluice.fair_clock_short minvalue 0 start 0;
create sequence sluice.fair_clock_long minvalue 0 start 0;
create index tasks_fair on sluice.tasks (queue_key, fair_tag) where queue_key is not null;
create index tasks_queue on sluice.tasks (class, job_priority desc, task_id) where status = 'PENDING';
create index tasks_running_cluster on sluice.tasks (cluster) where status = 'RUNNING';
create index tasks_running_operation on sluice.tasks (operation) where status = 'RUNNING';
create index tasks_retries on sluice.tasks (retry_of) where retry_of is not null;
create index tasks_dead on sluice.tasks (tenant_id, task_id) where dead_lettered;
create index tasks_schedule on sluice.tasks (schedule_id) where schedule_id is not null;
create index tasks_ended on sluice.tasks (completed_at) where done;

create function sluice.fair_clock(of_class text) returns bigint language sql stable as $$
  select case of_class when 'short' then (select last_value from sluice.fair_clock_short)
    else (select last_value from sluice.fair_clock_long) end
$$;

-- The engine's priority of a job: what was asked for first, then the fair order.
create function sluice.job_priority(priority int, tag bigint) returns int language sql immutable as $$
  select priority * 20000000 - least(tag, 19999999)::int
$$;

-- Counts what the transaction moved, at its end: by then every task's row is locked, and nobody waits for a batch's
-- row while holding it, so that two outcomes of one batch cannot block each other.
create function sluice.count_batch() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog as $$
begin
  update batches b set
    counts = b.counts || jsonb_build_object(old.status, coalesce((b.counts->>old.status)::int, 0) - 1,
      new.status, coalesce((b.counts->>new.status)::int, 0) + 1),
    stopping = b.stopping or (b.on_error = 'stop' and new.status in ('FAILED', 'TIMED_OUT', 'REJECTED', 'EXPIRED'))
    where batch_id = new.batch_id;
  if new.done then
    update batches b set completed_at = clock_timestamp() where batch_id = new.batch_id and completed_at is null
      and b.total = (select coalesce(sum(coalesce((b.counts->>s)::int, 0)), 0) from unnest(array['COMPLETED', 'FAILED',
        'TIMED_OUT', 'CANCELLED', 'REJECTED', 'EXPIRED']) s);
  end if;
  return null;
end $$;
create constraint trigger tasks_count_batch after update on sluice.tasks deferrable initially deferred
  for each row when (new.batch_id is not null and new.status <> old.status) execute function sluice.count_batch();

-- Why an attempt of this task may not start now; null when it may. Takes the locks of every limit that it counts,
-- in one order. Called by start_attempts, in the transaction that writes `task.started`.
create function sluice.hold_reason(t sluice.tasks) returns sluice.holds
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
    select * from limits x where (x.scope, x.key) in (('tenant', t.tenant_id), ('cluster', t.cluster), ('operation', t.operation))
    order by x.scope, x.key for update
  loop
    if l.max_running is not null then
      running := case l.scope
        when 'tenant' then (select count(*) from tasks x where x.tenant_id = t.tenant_id and x.status = 'RUNNING' and x.task_id <> t.task_id)
        when 'cluster' then (select count(*) from tasks x where x.cluster = t.cluster and x.status = 'RUNNING' and x.task_id <> t.task_id)
        else (select count(*) from tasks x where x.operation = t.operation and x.status = 'RUNNING' and x.task_id <> t.task_id) end;
      if running >= l.max_running then
        held.reason := 'limit';
        held.scope := l.scope;
        held.key := l.key;
        held.promised := was_promised;
        return held;
      end if;
    end if;
    if l.per_minute is not null and not was_promised then
      l.tokens := least(l.burst, l.tokens + extract(epoch from clock_timestamp() - l.refilled_at) * l.per_minute / 60.0) - 1;
      update limits set tokens = l.tokens, refilled_at = clock_timestamp() where scope = l.scope and key = l.key;
      if l.tokens < 0 then
        wait_s := -l.tokens * 60.0 / l.per_minute;
        held.reason := 'rate';
        held.scope := l.scope;
        held.key := l.key;
        held.promised := true;
        held.until := clock_timestamp() + make_interval(secs => wait_s);
        return held;
      end if;
    end if;
  end loop;
  return null;
end $$;

-- Starts what may start, and says of the rest for how long it is held. A task that ended meanwhile, or that was claimed
-- again, is left out: whoever holds its job has nothing to do.
create function sluice.start_attempts(claims jsonb, worker text)
returns table (task_id uuid, held_ms float8, tenant text, operation text, cluster text, input jsonb, attempt int, burned int,
  max_attempts int, retry_of uuid, cancel_requested_by text, remaining_ms float8, elapsed_ms float8)
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
  c record;
  t tasks;
  held holds;
  started jsonb;
  -- Nothing is paused or limited nearly everywhere and always: one look for the whole batch.
  free boolean := not exists (select from pauses) and not exists (select from limits)
    and not exists (select from cluster_health h where h.open_until is not null);
begin
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
    end if;
    if held.task_id is not null then
      insert into holds as h values (held.*) on conflict (task_id) do update
        set reason = excluded.reason, scope = excluded.scope, key = excluded.key, promised = excluded.promised,
          until = excluded.until, woken_at = null;
      -- Woken when the reason goes away; the time is a net below that.
      held_ms := coalesce(greatest(extract(epoch from held.until - clock_timestamp()) * 1000, 0), 600000);
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
    select e.payload->'input' into input from domain_events e where e.task_id = t.task_id and e.event_id = t.request_event_id;
    return next;
  end loop;
end $$;

-- Holds whose reason is gone, as many as may start now, in the order of the queue.
create function sluice.releasable_holds(at_most int) returns table (task_id uuid, class text)
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
  g record;
  free int;
begin
  -- Ended meanwhile: nothing to hold.
  delete from holds h using tasks t where t.task_id = h.task_id and t.done;
  for g in select distinct reason, scope, key from holds where woken_at is null or woken_at < clock_timestamp() - interval '3 seconds'
  loop
    free := at_most;
    if g.reason in ('rate', 'cluster') then
      -- Their jobs have their own time.
      continue;
    elsif g.reason = 'limit' then
      select coalesce(l.max_running, at_most) - case g.scope
          when 'tenant' then (select count(*) from tasks x where x.tenant_id = g.key and x.status = 'RUNNING')
          when 'cluster' then (select count(*) from tasks x where x.cluster = g.key and x.status = 'RUNNING')
          else (select count(*) from tasks x where x.operation = g.key and x.status = 'RUNNING') end
        into free from limits l where l.scope = g.scope and l.key = g.key;
      free := coalesce(free, at_most);
    elsif g.reason = 'batch' then
      select case when b.stopping then 0 else coalesce(b.concurrency, at_most) - (select count(*) from tasks x
          where x.batch_id = b.batch_id and x.status in ('RUNNING', 'WAITING', 'RETRYING')) end
        into free from batches b where b.batch_id = g.key::uuid;
      free := coalesce(free, at_most);
    end if;
    free := least(free, at_most) - case when g.reason in ('limit', 'batch') then (select count(*)::int from holds h
      where (h.reason, h.scope, h.key) = (g.reason, g.scope, g.key) and h.woken_at >= clock_timestamp() - interval '3 seconds') else 0 end;
    return query
      update holds h set woken_at = clock_timestamp() where h.task_id in (
        select x.task_id from holds x join tasks t on t.task_id = x.task_id
        where (x.reason, x.scope, x.key) = (g.reason, g.scope, g.key)
          and (x.woken_at is null or x.woken_at < clock_timestamp() - interval '3 seconds')
          and (x.reason <> 'paused' or not exists (select from pauses p
            where p.tenant_id in ('', x.tenant_id) and p.operation in ('', t.operation)))
        order by x.job_priority desc, x.task_id limit greatest(free, 0))
      returning h.task_id, h.class;
  end loop;
end $$;

-- What an attempt learned about its cluster. Five failures in a row open the circuit, for 5 s and then twice as long
-- each time, up to a minute; one success closes it.
create function sluice.note_cluster(of_cluster text, ok boolean, message text) returns void
language plpgsql set search_path = sluice, pg_catalog as $$
begin
  if ok then
    delete from cluster_health h where h.cluster = of_cluster;
    return;
  end if;
  insert into cluster_health as h (cluster, failures, last_error) values (of_cluster, 1, message)
    on conflict (cluster) do update set failures = h.failures + 1, last_error = excluded.last_error,
      updated_at = clock_timestamp(), open_until = case when h.failures + 1 >= 5
        then clock_timestamp() + make_interval(secs => least(60, 5 * 2 ^ least(h.failures - 4, 4))) else h.open_until end;
end $$;

-- Why these tasks are not running yet. Reads at most a thousand rows of the queue however long it is: a task behind
-- them has no position.
create function sluice.explain_tasks(ids uuid[])
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
  select a.task_id, h.reason, h.scope, h.key, h.until, ahead.n, alive.n,
    (select p.paused_by from pauses p where p.tenant_id in ('', a.tenant_id) and p.operation in ('', a.operation) limit 1),
    case when h.reason = 'batch' then (select b.concurrency from batches b where b.batch_id = a.batch_id)
      else (select l.max_running from limits l where l.scope = h.scope and l.key = h.key) end,
    exists (select from workers w where w.role <> 'api' and w.heartbeat_at > clock_timestamp() - interval '15 seconds'
      and a.operation = any(w.operations))
  from asked a cross join alive left join holds h on h.task_id = a.task_id left join ahead on ahead.task_id = a.task_id
$$;

-- How much waits and runs, per operation: of one tenant, for its people.
create function sluice.queue_depths(of_tenant text)
returns table (operation text, class text, pending int, scheduled int, running int, waiting int, retrying int, held int)
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select t.operation, t.class, count(*) filter (where t.status = 'PENDING')::int,
    count(*) filter (where t.status = 'SCHEDULED')::int, count(*) filter (where t.status = 'RUNNING')::int,
    count(*) filter (where t.status = 'WAITING')::int, count(*) filter (where t.status = 'RETRYING')::int,
    count(h.task_id)::int
  from tasks t left join holds h on h.task_id = t.task_id
  where t.tenant_id = of_tenant and t.status in ('PENDING', 'SCHEDULED', 'RUNNING', 'WAITING', 'RETRYING')
  group by 1, 2 order by 1
$$;

-- Deletes tasks that ended before a time, a few at a time.
create function sluice.drop_ended_tasks(ended_before timestamptz, at_most int) returns int
language plpgsql security definer set search_path = sluice, pg_catalog as $$
declare n int;
begin
  if current_setting('role') <> 'sluice_retention' then
    raise exception 'drop_ended_tasks is for sluice_retention' using errcode = 'SL003';
  end if;
  delete from tasks where task_id in (select t.task_id from tasks t where t.done and t.completed_at < ended_before
    order by t.completed_at limit at_most);
  get diagnostics n = row_count;
  return n;
end $$;

-- Drops the oldest partition of the log that ended before a time, once no task that it speaks of is kept. Leaves a
-- checkpoint. Returns its name, or null when there is none.
create function sluice.drop_sealed_partition(ended_before timestamptz) returns text
language plpgsql security definer set search_path = sluice, pg_catalog as $$
declare
  part text;
  upper_bound timestamptz;
begin
  if current_setting('role') <> 'sluice_retention' then
    raise exception 'drop_sealed_partition is for sluice_retention' using errcode = 'SL003';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('sluice.make_event_partitions', 0));
  select c.relname into part from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'sluice.domain_events'::regclass and c.relname ~ '^domain_events_\d{4}_\d{2}$' order by 1 limit 1;
  if part is null then return null; end if;
  upper_bound := (to_date(right(part, 7), 'YYYY_MM')::timestamp + interval '1 month') at time zone 'UTC';
  if upper_bound > ended_before or exists (select from tasks t where t.created_at < upper_bound) then
    return null;
  end if;
  set local lock_timeout = '2s';
  execute format('insert into sluice.log_checkpoints (partition, from_seq, to_seq, events, digest)
    select %L, coalesce(min(seq), 0), coalesce(max(seq), 0), count(*),
      encode(sha256(convert_to(coalesce(string_agg(event_id::text, '','' order by seq), ''''), ''UTF8'')), ''hex'') from sluice.%I', part, part);
  execute format('drop table sluice.%I', part);
  return part;
end $$;

revoke all on function sluice.drop_ended_tasks(timestamptz, int), sluice.drop_sealed_partition(timestamptz),
  sluice.start_attempts(jsonb, text), sluice.hold_reason(sluice.tasks), sluice.releasable_holds(int),
  sluice.note_cluster(text, boolean, text), sluice.explain_tasks(uuid[]), sluice.queue_depths(text),
  sluice.count_batch() from public;
grant usage on schema sluice to sluice_retention;
grant execute on function sluice.drop_ended_tasks(timestamptz, int), sluice.drop_sealed_partition(timestamptz) to sluice_retention;
grant execute on function sluice.start_attempts(jsonb, text), sluice.hold_reason(sluice.tasks), sluice.releasable_holds(int),
  sluice.note_cluster(text, boolean, text), sluice.explain_tasks(uuid[]) to sluice_worker;
grant execute on function sluice.explain_tasks(uuid[]), sluice.queue_depths(text) to sluice_api;
grant execute on function sluice.fair_clock(text), sluice.job_priority(int, bigint) to sluice_api, sluice_worker;
grant select, update on sluice.fair_clock_short, sluice.fair_clock_long to sluice_worker;
grant select on sluice.fair_clock_short, sluice.fair_clock_long to sluice_api;
grant select, insert, update, delete on sluice.workers to sluice_worker;
grant select on sluice.workers, sluice.pauses, sluice.limits, sluice.cluster_health to sluice_api, sluice_worker;
grant insert, update, delete on sluice.pauses, sluice.limits to sluice_api;
grant update on sluice.limits to sluice_worker;
grant insert, update, delete on sluice.cluster_health, sluice.holds to sluice_worker;
grant select on sluice.holds, sluice.batches, sluice.schedules to sluice_api, sluice_worker, sluice_feed;
grant insert on sluice.batches to sluice_api;
-- A row lock needs the right to update; the trigger alone writes.
grant update (stopping) on sluice.batches to sluice_worker;
grant insert, update, delete on sluice.schedules to sluice_api;

do $$
declare t text;
begin
  foreach t in array array['holds', 'batches', 'schedules'] loop
    execute format('alter table sluice.%I enable row level security', t);
    execute format('create policy one_tenant on sluice.%I to sluice_api using (tenant_id = current_setting(''sluice.tenant'', true))', t);
    execute format('create policy every_tenant on sluice.%I to sluice_worker, sluice_feed using (true) with check (true)', t);
  end loop;
end $$;

-- A pause of every tenant (the empty string) is seen by all and set by nobody's API transaction.
alter table sluice.pauses enable row level security;
create policy seen on sluice.pauses for select to sluice_api
  using (tenant_id in ('', current_setting('sluice.tenant', true)));
create policy own_insert on sluice.pauses for insert to sluice_api
  with check (tenant_id = current_setting('sluice.tenant', true));
create policy own_update on sluice.pauses for update to sluice_api
  using (tenant_id = current_setting('sluice.tenant', true));
create policy own_delete on sluice.pauses for delete to sluice_api
  using (tenant_id = current_setting('sluice.tenant', true));
create policy every_tenant on sluice.pauses to sluice_worker, sluice_feed using (true) with check (true);
