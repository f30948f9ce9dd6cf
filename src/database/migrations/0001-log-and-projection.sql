-- The log, and the projection that the database keeps of it.

-- Which event moves a task from which status to which, and who may write it.
-- src/tasks/task-state.ts holds the same table; a test proves that they are equal.
create table sluice.legal_moves (
  type text not null,
  from_status text not null,
  to_status text not null,
  role text not null,
  primary key (type, from_status, role)
);

insert into sluice.legal_moves (type, from_status, to_status, role) values
  ('task.joined', 'AWAITING_APPROVAL', 'AWAITING_APPROVAL', 'sluice_api'),
  ('task.joined', 'SCHEDULED', 'SCHEDULED', 'sluice_api'),
  ('task.joined', 'PENDING', 'PENDING', 'sluice_api'),
  ('task.joined', 'RUNNING', 'RUNNING', 'sluice_api'),
  ('task.joined', 'WAITING', 'WAITING', 'sluice_api'),
  ('task.joined', 'RETRYING', 'RETRYING', 'sluice_api'),
  ('task.rejected', 'AWAITING_APPROVAL', 'REJECTED', 'sluice_api'),
  ('task.expired', 'AWAITING_APPROVAL', 'EXPIRED', 'sluice_api'),
  ('task.expired', 'AWAITING_APPROVAL', 'EXPIRED', 'sluice_worker'),
  ('task.approved', 'AWAITING_APPROVAL', 'PENDING', 'sluice_api'),
  ('task.started', 'SCHEDULED', 'RUNNING', 'sluice_worker'),
  ('task.started', 'PENDING', 'RUNNING', 'sluice_worker'),
  ('task.started', 'RUNNING', 'RUNNING', 'sluice_worker'),
  ('task.started', 'RETRYING', 'RUNNING', 'sluice_worker'),
  ('task.waiting', 'RUNNING', 'WAITING', 'sluice_worker'),
  ('task.waiting', 'WAITING', 'WAITING', 'sluice_worker'),
  ('task.progress', 'RUNNING', 'RUNNING', 'sluice_worker'),
  ('task.progress', 'WAITING', 'WAITING', 'sluice_worker'),
  ('task.retrying', 'RUNNING', 'RETRYING', 'sluice_worker'),
  ('task.cancel_requested', 'RUNNING', 'RUNNING', 'sluice_api'),
  ('task.cancel_requested', 'WAITING', 'WAITING', 'sluice_api'),
  ('task.cancel_requested', 'RETRYING', 'RETRYING', 'sluice_api'),
  ('task.completed', 'RUNNING', 'COMPLETED', 'sluice_worker'),
  ('task.completed', 'WAITING', 'COMPLETED', 'sluice_worker'),
  ('task.failed', 'SCHEDULED', 'FAILED', 'sluice_worker'),
  ('task.failed', 'PENDING', 'FAILED', 'sluice_worker'),
  ('task.failed', 'RUNNING', 'FAILED', 'sluice_worker'),
  ('task.failed', 'WAITING', 'FAILED', 'sluice_worker'),
  ('task.failed', 'RETRYING', 'FAILED', 'sluice_worker'),
  ('task.timed_out', 'RUNNING', 'TIMED_OUT', 'sluice_worker'),
  ('task.timed_out', 'WAITING', 'TIMED_OUT', 'sluice_worker'),
  ('task.timed_out', 'RETRYING', 'TIMED_OUT', 'sluice_worker'),
  ('task.cancelled', 'AWAITING_APPROVAL', 'CANCELLED', 'sluice_api'),
  ('task.cancelled', 'SCHEDULED', 'CANCELLED', 'sluice_api'),
  ('task.cancelled', 'PENDING', 'CANCELLED', 'sluice_api'),
  ('task.cancelled', 'RUNNING', 'CANCELLED', 'sluice_worker'),
  ('task.cancelled', 'WAITING', 'CANCELLED', 'sluice_worker'),
  ('task.cancelled', 'RETRYING', 'CANCELLED', 'sluice_worker');

create sequence sluice.event_seq as bigint cache 1;
-- "Called once", so that last_value is always a number already handed out: the low-water mark relies on it.
select setval('sluice.event_seq', 1, true);

create table sluice.domain_events (
  seq bigint not null,
  event_id uuid not null default gen_random_uuid(),
  task_id uuid,
  tenant_id text not null,
  type text not null,
  operation text,
  target text,
  actor text not null,
  payload jsonb not null default '{}',
  at timestamptz not null default clock_timestamp(),
  primary key (seq, at)
) partition by range (at);
create index domain_events_task on sluice.domain_events (task_id, seq);

-- Partitions are made ahead by housekeeping; the default one only catches rows should that ever fail.
create table sluice.domain_events_default partition of sluice.domain_events default;

create table sluice.tasks (
  task_id uuid primary key,
  tenant_id text not null,
  operation text not null,
  class text not null check (class in ('short', 'long')),
  status text not null check (status in ('AWAITING_APPROVAL', 'SCHEDULED', 'PENDING', 'RUNNING', 'WAITING', 'RETRYING',
    'COMPLETED', 'FAILED', 'TIMED_OUT', 'CANCELLED', 'REJECTED', 'EXPIRED')),
  done boolean not null generated always as
    (status in ('COMPLETED', 'FAILED', 'TIMED_OUT', 'CANCELLED', 'REJECTED', 'EXPIRED')) stored,
  target text,
  cluster text,
  unique_key text,
  -- What no two active tasks may share, as one value each: a look-up has exactly one index to use, also before the
  -- first ANALYZE. Tenant and operation hold no slash.
  active_key text generated always as (case
    when status in ('COMPLETED', 'FAILED', 'TIMED_OUT', 'CANCELLED', 'REJECTED', 'EXPIRED') then null
    else tenant_id || '/' || operation || '/' || unique_key end) stored,
  active_target text generated always as (case
    when status in ('COMPLETED', 'FAILED', 'TIMED_OUT', 'CANCELLED', 'REJECTED', 'EXPIRED') then null
    else tenant_id || '/' || target end) stored,
  -- The tenant's queue of a class, while the task is in it: for the same reason one value.
  queue_key text generated always as (case when status = 'PENDING' then tenant_id || '/' || class end) stored,
  input_hash text not null,
  request_event_id uuid not null,
  requested_by text not null,
  joined_by text[] not null default '{}',
  labels jsonb not null default '{}',
  batch_id uuid,
  retry_of uuid,
  schedule_id uuid,
  ticket_id uuid,
  priority int not null default 0,
  -- The task's turn among its tenant's, and the engine's priority that follows from it (migration 0004).
  fair_tag bigint not null default 0,
  job_priority int not null default 0,
  timeout_ms int not null,
  max_attempts int not null,
  attempt int not null default 0,
  -- The engine's retry count under which the current attempt was claimed: an older claim cannot start it again.
  claim int not null default -1,
  park int not null default 0,
  progress jsonb,
  waiting_for jsonb,
  result jsonb,
  error jsonb,
  dead_lettered boolean not null default false,
  cancel_requested_by text,
  -- Attempts handed back unburned (a drained worker, a limit): they number on, but do not count.
  handed_back int not null default 0,
  start_at timestamptz,
  created_at timestamptz not null,
  started_at timestamptz,
  deadline_at timestamptz,
  next_attempt_at timestamptz,
  completed_at timestamptz,
  last_seq bigint not null
) with (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 80);

-- One active task per unique key, and per target.
create unique index tasks_active_key on sluice.tasks (active_key) where active_key is not null;
create unique index tasks_active_target on sluice.tasks (active_target) where active_target is not null;
-- Ids carry their time, so that "newest first" is this index backwards.
create index tasks_newest on sluice.tasks (tenant_id, task_id);
create index tasks_by_status on sluice.tasks (tenant_id, status, task_id);
create index tasks_deadline on sluice.tasks (deadline_at) where status in ('RUNNING', 'WAITING', 'RETRYING');
create index tasks_cancelling on sluice.tasks (task_id) where not done and cancel_requested_by is not null;
create index tasks_batch on sluice.tasks (batch_id) where batch_id is not null;

create function sluice.refuse_write() returns trigger language plpgsql as $$
begin
  -- Retention deletes what ended long ago, through its own function only: the role has no grant on the table.
  if tg_table_name = 'tasks' and tg_op = 'DELETE' and current_setting('role') = 'sluice_retention' then
    return null;
  end if;
  raise exception '% refuses %: %', tg_table_name, lower(tg_op), tg_argv[0] using errcode = 'SL003';
end $$;

create trigger domain_events_append_only before update or delete on sluice.domain_events
  for each row execute function sluice.refuse_write('the log is append-only');
create trigger domain_events_keep before truncate on sluice.domain_events
  for each statement execute function sluice.refuse_write('the log is append-only');
create trigger domain_events_keep before truncate on sluice.domain_events_default
  for each statement execute function sluice.refuse_write('the log is append-only');
create trigger tasks_projection_only before insert or update or delete or truncate on sluice.tasks
  for each statement when (pg_trigger_depth() = 0)
  execute function sluice.refuse_write('only an event changes a task');

create function sluice.make_event_partitions(months_ahead int) returns void
language plpgsql security definer set search_path = sluice, pg_catalog as $$
declare
  month timestamptz := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC';
  partition text;
begin
  perform pg_advisory_xact_lock(hashtextextended('sluice.make_event_partitions', 0));
  for i in 0..months_ahead loop
    partition := 'domain_events_' || to_char(month at time zone 'UTC', 'YYYY_MM');
    if to_regclass('sluice.' || partition) is null then
      execute format('create table sluice.%I partition of sluice.domain_events for values from (%L) to (%L)',
        partition, month, ((month at time zone 'UTC') + interval '1 month') at time zone 'UTC');
      -- Row triggers are cloned to a new partition by PostgreSQL, truncate triggers are not.
      execute format('create trigger domain_events_keep before truncate on sluice.%I for each statement '
        'execute function sluice.refuse_write(''the log is append-only'')', partition);
    end if;
    month := ((month at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  end loop;
end $$;
select sluice.make_event_partitions(3);

-- Writes what the event says into the task, checks that the move is legal, and numbers the event.
-- SL001 illegal move · SL002 stale attempt or claim · SL003 refused · SL004 no such task
create function sluice.project_event() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog
-- A plan made while the tables were empty is kept: without this it scans them for as long as nobody analyses them.
set enable_seqscan = off set jit = off as $$
declare
  -- current_user is the owner here; the role setting tells who asks.
  asking text := current_setting('role');
  p jsonb := new.payload;
  task tasks;
  next_status text;
begin
  if asking not in ('sluice_api', 'sluice_worker') then
    raise exception 'the log takes events from sluice_api and sluice_worker, not from %', asking using errcode = 'SL003';
  end if;

  if new.task_id is not null and new.type <> 'task.requested' then
    select * into task from tasks where task_id = new.task_id for update;
    if not found or task.tenant_id <> new.tenant_id then
      raise exception 'there is no task %', new.task_id using errcode = 'SL004';
    end if;
    select to_status into next_status from legal_moves m
      where m.type = new.type and m.from_status = task.status and m.role = asking;
    if not found then
      raise exception 'task % is %: % by % is not a legal move', new.task_id, task.status, new.type, asking
        using errcode = 'SL001', detail = task.status;
    end if;
    if new.type = 'task.approved' and (p->>'start_at')::timestamptz > now() then
      next_status := 'SCHEDULED';
    end if;

    if asking = 'sluice_worker' then
      if new.type = 'task.started' then
        if (p->>'claim')::int <= task.claim then
          raise exception 'task % was claimed again (claim % after %)', new.task_id, p->>'claim', task.claim
            using errcode = 'SL002';
        end if;
        p := p || jsonb_build_object('attempt', task.attempt + 1, 'deadline_at',
          coalesce(task.deadline_at, new.at + make_interval(secs => task.timeout_ms / 1000.0)));
        new.payload := p;
      elsif p ? 'attempt' and (p->>'attempt')::int <> task.attempt then
        raise exception 'attempt % of task % is stale: attempt % runs', p->>'attempt', new.task_id, task.attempt
          using errcode = 'SL002';
      elsif task.status in ('RUNNING', 'WAITING') and not p ? 'attempt' then
        raise exception '% of task % does not say which attempt it is', new.type, new.task_id using errcode = 'SL002';
      end if;
      if new.type = 'task.waiting' then
        p := p || jsonb_build_object('park', task.park + 1);
        new.payload := p;
      elsif new.type = 'task.retrying' then
        p := p || jsonb_build_object('next_attempt_at', new.at + make_interval(secs => (p->>'retry_in_ms')::float8 / 1000));
        new.payload := p;
      end if;
    end if;
  end if;

  -- The low-water mark: whoever will write numbers above last_value says so first, and readers stay behind the
  -- smallest such lock. Once per transaction, after the task's row is locked, before the number is taken.
  if current_setting('sluice.low_water', true) is distinct from pg_current_xact_id()::text then
    perform pg_advisory_xact_lock_shared((23580::bigint << 48) | pg_sequence_last_value('event_seq'));
    perform set_config('sluice.low_water', pg_current_xact_id()::text, true);
  end if;
  new.seq := nextval('event_seq');

  if new.task_id is null then
    return new;
  end if;

  if new.type = 'task.requested' then
    insert into tasks (task_id, tenant_id, operation, class, status, target, cluster, unique_key, input_hash,
      request_event_id, requested_by, labels, batch_id, retry_of, schedule_id, ticket_id, priority, fair_tag,
      job_priority, timeout_ms, max_attempts, start_at, created_at, last_seq)
    values (new.task_id, new.tenant_id, new.operation, p->>'class', p->>'status', new.target, p->>'cluster',
      p->>'unique_key', p->>'input_hash', new.event_id, new.actor, coalesce(p->'labels', '{}'),
      (p->>'batch_id')::uuid, (p->>'retry_of')::uuid, (p->>'schedule_id')::uuid, (p->>'ticket_id')::uuid,
      coalesce((p->>'priority')::int, 0), coalesce((p->>'fair_tag')::bigint, 0),
      coalesce((p->>'job_priority')::int, 0), (p->>'timeout_ms')::int, (p->>'max_attempts')::int,
      (p->>'start_at')::timestamptz, new.at, new.seq);
    return new;
  end if;

  if new.type = 'task.started' then
    update tasks set status = next_status, attempt = (p->>'attempt')::int, claim = (p->>'claim')::int, last_seq = new.seq,
      started_at = coalesce(started_at, new.at), deadline_at = (p->>'deadline_at')::timestamptz,
      next_attempt_at = null, progress = null, error = null
      where task_id = new.task_id;
  elsif new.type = 'task.waiting' then
    update tasks set status = next_status, park = (p->>'park')::int, waiting_for = p->'waiting_for', last_seq = new.seq
      where task_id = new.task_id;
  elsif new.type = 'task.progress' then
    update tasks set progress = coalesce(p->'progress', progress),
      waiting_for = case when p ? 'reason' then jsonb_set(waiting_for, '{reason}', p->'reason') else waiting_for end,
      last_seq = new.seq
      where task_id = new.task_id;
  elsif new.type = 'task.retrying' then
    update tasks set status = next_status, next_attempt_at = (p->>'next_attempt_at')::timestamptz, error = p->'error',
      handed_back = handed_back + case when (p->>'burned')::boolean then 0 else 1 end, last_seq = new.seq
      where task_id = new.task_id;
  elsif new.type = 'task.joined' then
    update tasks set joined_by = case when new.actor = any(joined_by) or new.actor = requested_by then joined_by
      else joined_by || new.actor end, last_seq = new.seq
      where task_id = new.task_id;
  elsif new.type = 'task.cancel_requested' then
    update tasks set cancel_requested_by = coalesce(cancel_requested_by, new.actor), last_seq = new.seq
      where task_id = new.task_id;
  elsif new.type = 'task.approved' then
    update tasks set status = next_status, last_seq = new.seq where task_id = new.task_id;
  else
    update tasks set status = next_status, completed_at = new.at, next_attempt_at = null, waiting_for = null,
      result = p->'result', error = p->'error', dead_lettered = coalesce((p->>'dead_lettered')::boolean, false),
      last_seq = new.seq
      where task_id = new.task_id;
  end if;
  return new;
end $$;

create trigger domain_events_project before insert on sluice.domain_events
  for each row execute function sluice.project_event();

-- The first answer to an Idempotency-Key, kept for a day.
create table sluice.idempotency_keys (
  tenant_id text not null,
  principal text not null,
  key text not null,
  request_hash text not null,
  task_id uuid not null,
  status text not null,
  deduplicated boolean not null,
  expires_at timestamptz not null,
  primary key (tenant_id, principal, key)
);
create index idempotency_keys_expiry on sluice.idempotency_keys (expires_at);

-- One row per parked task: what every worker's watch looks for.
create table sluice.waits (
  task_id uuid primary key,
  tenant_id text not null,
  attempt int not null,
  park int not null,
  -- The task.waiting event: what the finish job carries.
  event_id uuid not null unique,
  cluster text not null,
  api_version text not null,
  kind text not null,
  namespace text,
  name text not null,
  base_path text not null default '',
  uid text,
  generation bigint,
  resource_version text,
  rules jsonb not null,
  deadline_at timestamptz not null,
  created_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0.01);

-- Records: what the worker knows about the world. Only the worker's role writes them.
create table sluice.resources (
  tenant_id text not null,
  cluster text not null,
  api_version text not null,
  kind text not null,
  namespace text not null default '',
  name text not null,
  uid text,
  -- `cluster:group/Kind/namespace/name`, as the tasks on it have it.
  target text not null,
  base_path text not null default '',
  generation bigint,
  state text not null check (state in ('present', 'deleted')),
  -- What happened to the object that no task of ours did.
  drift text check (drift in ('changed', 'deleted')),
  conditions jsonb not null default '[]',
  task_id uuid not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, cluster, api_version, kind, namespace, name)
);
