-- What acceptance costs is mostly the start of each statement: PostgreSQL reads the generated columns, checks and
-- triggers of a table anew every time. So a group of requests is written by two statements, not by two per request.

alter table sluice.tasks
  alter column done drop expression, alter column done set default false,
  alter column active_key drop expression,
  alter column active_target drop expression,
  alter column queue_key drop expression,
  -- Which status and class there are is said by legal_moves and by the one function that writes them.
  drop constraint tasks_status_check,
  drop constraint tasks_class_check;

-- Writes what the event says into the task, checks that the move is legal, and numbers the event.
-- SL001 illegal move · SL002 stale attempt or claim · SL003 refused · SL004 no such task
create or replace function sluice.project_event() returns trigger
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

  if new.type = 'task.requested' then
    if asking <> 'sluice_api' then
      raise exception 'requests are accepted by sluice_api, not by %', asking using errcode = 'SL003';
    end if;
  elsif new.task_id is not null then
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

  -- Requests become tasks all at once, when the statement ends.
  if new.task_id is null or new.type = 'task.requested' then
    return new;
  end if;

  if new.type = 'task.started' then
    update tasks set status = next_status, queue_key = null, attempt = (p->>'attempt')::int,
      claim = (p->>'claim')::int, last_seq = new.seq, started_at = coalesce(started_at, new.at), deadline_at = (p->>'deadline_at')::timestamptz,
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
  elsif new.type = 'task.regated' then
    update tasks set ticket_id = (p->>'ticket_id')::uuid, last_seq = new.seq where task_id = new.task_id;
  elsif new.type = 'task.cancel_requested' then
    update tasks set cancel_requested_by = coalesce(cancel_requested_by, new.actor), last_seq = new.seq
      where task_id = new.task_id;
  elsif new.type = 'task.approved' then
    update tasks set status = next_status, last_seq = new.seq,
      queue_key = case when next_status = 'PENDING' then tenant_id || '/' || class end
      where task_id = new.task_id;
  else
    update tasks set status = next_status, done = true, active_key = null, active_target = null, queue_key = null,
      completed_at = new.at, next_attempt_at = null, waiting_for = null,
      result = p->'result', error = p->'error', dead_lettered = coalesce((p->>'dead_lettered')::boolean, false),
      last_seq = new.seq
      where task_id = new.task_id;
  end if;
  return new;
end $$;

-- The tasks of the requests that a statement wrote.
create function sluice.project_requests() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog as $$
begin
  insert into tasks (task_id, tenant_id, operation, class, status, target, cluster, unique_key, active_key,
    active_target, queue_key, input_hash, request_event_id, requested_by, labels, batch_id, retry_of, schedule_id,
    ticket_id, priority, fair_tag, job_priority, timeout_ms, max_attempts, start_at, created_at, last_seq)
  select e.task_id, e.tenant_id, e.operation, e.payload->>'class', e.payload->>'status', e.target, e.payload->>'cluster',
    e.payload->>'unique_key', e.tenant_id || '/' || e.operation || '/' || (e.payload->>'unique_key'),
    e.tenant_id || '/' || e.target,
    case when e.payload->>'status' = 'PENDING' then e.tenant_id || '/' || (e.payload->>'class') end,
    e.payload->>'input_hash', e.event_id, e.actor, coalesce(e.payload->'labels', '{}'),
    (e.payload->>'batch_id')::uuid, (e.payload->>'retry_of')::uuid, (e.payload->>'schedule_id')::uuid,
    (e.payload->>'ticket_id')::uuid, coalesce((e.payload->>'priority')::int, 0),
    coalesce((e.payload->>'fair_tag')::bigint, 0), coalesce((e.payload->>'job_priority')::int, 0),
    (e.payload->>'timeout_ms')::int, (e.payload->>'max_attempts')::int, (e.payload->>'start_at')::timestamptz, e.at, e.seq
  from written e where e.type = 'task.requested';
  return null;
end $$;
create trigger domain_events_requests after insert on sluice.domain_events referencing new table as written
  for each statement when (current_setting('role') = 'sluice_api') execute function sluice.project_requests();

-- Accepts up to a few hundred requests in one call; each row brings its own tenant. Per request:
-- outcome 'accepted' | 'joined' | 'replayed' | 'key_reused' | 'conflict', or as `payload.refused` says, or
-- 'tickets_of_requester' | 'tickets_of_tenant' (too many are open) | 'over_quota'; only 'accepted' has written a request event.
-- A lost race on a key raises 23505, and the caller tries the requests one by one.
create or replace function sluice.accept_tasks(requests jsonb)
returns table (idx int, outcome text, task_id uuid, status text, deduplicated boolean, job_priority int)
language plpgsql security definer set search_path = sluice, pg_catalog
-- A plan made while the tables were empty is kept: without this it scans them for as long as nobody analyses them.
set enable_seqscan = off set jit = off as $$
begin
  if current_setting('role') <> 'sluice_api' then
    raise exception 'accept_tasks is for sluice_api' using errcode = 'SL003';
  end if;
  return query select * from accept_together(requests);
  if not found then
    return query select * from accept_one_by_one(requests);
  end if;
end $$;

-- All of them by one statement, where nothing is known before and no two are about the same; else nothing, and no row.
create function sluice.accept_together(requests jsonb)
returns table (idx int, outcome text, task_id uuid, status text, deduplicated boolean, job_priority int)
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
begin
  return query with asked as materialized (
    select x.*, x.payload->>'class' as class, coalesce((x.payload->>'priority')::int, 0) as priority,
      x.tenant || '/' || x.operation || '/' || (x.payload->>'unique_key') as active_key,
      x.tenant || '/' || x.target as active_target,
      x.tenant || '/' || x.actor || '/' || x.idempotency_key as answer_key,
      x.tenant || '/' || (x.payload->>'class') as queue_key
    from jsonb_to_recordset(requests) as x (idx int, task_id uuid, event_id uuid, tenant text, actor text,
      operation text, target text, idempotency_key text, request_hash text, payload jsonb)
  ), plain as materialized (
    -- Look-ups in the select list: a join could be planned as a scan of every task.
    select coalesce(bool_and(not a.payload ?| array['refused', 'ticket', 'quotas']
        and (a.active_key is null or (select t.task_id from tasks t where t.active_key = a.active_key) is null)
        and (a.active_target is null or (select t.task_id from tasks t where t.active_target = a.active_target) is null)
        and (a.idempotency_key is null or (select k.task_id from idempotency_keys k
          where k.tenant_id = a.tenant and k.principal = a.actor and k.key = a.idempotency_key) is null)), false)
      and count(a.active_key) = count(distinct a.active_key)
      and count(a.active_target) = count(distinct a.active_target)
      and count(a.answer_key) = count(distinct a.answer_key) as all_new
    from asked a
  ), queues as materialized (
    select q.queue_key, greatest(fair_clock(q.class) - 1, (select t.fair_tag from tasks t where t.queue_key = q.queue_key
      order by t.queue_key desc, t.fair_tag desc limit 1)) as last_turn
    from (select distinct a.queue_key, a.class from asked a) q where (select all_new from plain)
  ), turns as materialized (
    select a.*, q.last_turn + row_number() over (partition by a.queue_key order by a.task_id) as turn
    from asked a join queues q on q.queue_key = a.queue_key
  ), requested as (
    insert into domain_events (event_id, task_id, tenant_id, type, operation, target, actor, payload)
    select r.event_id, r.task_id, r.tenant, 'task.requested', r.operation, r.target, r.actor,
      r.payload || jsonb_build_object('fair_tag', r.turn, 'job_priority', sluice.job_priority(r.priority, r.turn))
    -- In one order for all callers: two groups do not wait for each other.
    from turns r order by r.tenant, r.operation, r.payload->>'unique_key', r.target, r.task_id
  ), answers as (
    insert into idempotency_keys (tenant_id, principal, key, request_hash, task_id, status, deduplicated, expires_at)
    select r.tenant, r.actor, r.idempotency_key, r.request_hash, r.task_id, r.payload->>'status', false,
      now() + interval '24 hours'
    from turns r where r.idempotency_key is not null order by r.answer_key
  )
  select r.idx, 'accepted', r.task_id, r.payload->>'status', false, sluice.job_priority(r.priority, r.turn) from turns r;
end $$;

-- Those of which some are known already, or need an approval: per request, in the order of the keys. Who joins a task comes
-- from somewhere, too, and may have been given the token by others.
create function sluice.accept_one_by_one(requests jsonb)
returns table (idx int, outcome text, task_id uuid, status text, deduplicated boolean, job_priority int)
language plpgsql security definer set search_path = sluice, pg_catalog
-- A plan made while the tables were empty is kept: without this it scans them for as long as nobody analyses them.
set enable_seqscan = off set jit = off as $$
declare
  r record;
  seen idempotency_keys;
  standing tasks;
  full_for text;
  turn bigint;
  turn_of text;
  quota record;
  -- Places left of each quota that was looked at, by tenant and name.
  room jsonb := '{}';
begin
  for r in
    select * from jsonb_to_recordset(requests) as x (idx int, task_id uuid, event_id uuid, tenant text, actor text,
      operation text, target text, idempotency_key text, request_hash text, payload jsonb)
    order by x.tenant, x.operation, x.payload->>'unique_key', x.target, x.task_id
  loop
    idx := r.idx;
    task_id := r.task_id;
    status := r.payload->>'status';
    deduplicated := false;
    outcome := 'accepted';

    if r.idempotency_key is not null then
      select * into seen from idempotency_keys k
        where k.tenant_id = r.tenant and k.principal = r.actor and k.key = r.idempotency_key and k.expires_at > now();
      if found then
        outcome := case when seen.request_hash = r.request_hash then 'replayed' else 'key_reused' end;
        task_id := seen.task_id;
        status := seen.status;
        deduplicated := seen.deduplicated;
        return next;
        continue;
      end if;
    end if;

    -- Policy said no, after the look at the key: the first answer to a key stays its answer.
    if r.payload->>'refused' = 'denied' then
      outcome := 'denied';
      return next;
      continue;
    end if;

    if r.payload->>'unique_key' is not null then
      select * into standing from tasks t
        where t.active_key = r.tenant || '/' || r.operation || '/' || (r.payload->>'unique_key');
      if found then
        task_id := standing.task_id;
        status := standing.status;
        if standing.input_hash = r.payload->>'input_hash' then
          outcome := 'joined';
          deduplicated := true;
        else
          outcome := 'conflict';
        end if;
      end if;
    end if;
    if outcome = 'accepted' and r.target is not null then
      select * into standing from tasks t where t.active_target = r.tenant || '/' || r.target;
      if found then
        task_id := standing.task_id;
        status := standing.status;
        -- The same request may have been committed since the look by key: it is joined, not in the way.
        deduplicated := coalesce(standing.input_hash = r.payload->>'input_hash'
          and standing.active_key = r.tenant || '/' || r.operation || '/' || (r.payload->>'unique_key'), false);
        outcome := case when deduplicated then 'joined' else 'conflict' end;
      end if;
    end if;

    -- The name typed again is asked for last: what is in the way anyhow is told first.
    if outcome = 'accepted' and r.payload ? 'refused' then
      outcome := r.payload->>'refused';
    end if;
    if outcome = 'accepted' and r.payload ? 'quotas' then
      for quota in select q.name, q.max, q.operations, r.tenant || '/' || q.name as key
        from jsonb_to_recordset(r.payload->'quotas') as q (name text, max int, operations text[]) order by q.name
      loop
        if not room ? quota.key then
          -- Counted under a lock of the tenant's: two acceptances at once cannot both take the last place. What a task
          -- holds it holds until it has ended, so that nothing has to be given back.
          perform pg_advisory_xact_lock(hashtextextended('sluice.quota/' || r.tenant, 0));
          room := room || jsonb_build_object(quota.key, quota.max - (select count(*) from (
            select from tasks t where t.tenant_id = r.tenant
              and t.status in ('AWAITING_APPROVAL', 'SCHEDULED', 'PENDING', 'RUNNING', 'WAITING', 'RETRYING')
              and (quota.operations is null or t.operation = any (quota.operations)) limit quota.max) counted));
        end if;
        if (room->>quota.key)::int <= 0 then
          outcome := 'over_quota';
        end if;
      end loop;
    end if;
    if outcome = 'accepted' and r.payload ? 'ticket' then
      full_for := open_ticket(r.tenant, r.task_id, r.actor, r.payload);
      if full_for is not null then
        outcome := 'tickets_of_' || full_for;
      end if;
    end if;
    job_priority := null;
    if outcome = 'accepted' then
      for quota in select r.tenant || '/' || (q->>'name') as key from jsonb_array_elements(r.payload->'quotas') q loop
        room := room || jsonb_build_object(quota.key, (room->>quota.key)::int - 1);
      end loop;
      if turn_of is distinct from r.tenant || '/' || (r.payload->>'class') then
        turn_of := r.tenant || '/' || (r.payload->>'class');
        select t.fair_tag into turn from tasks t where t.queue_key = turn_of
          order by t.queue_key desc, t.fair_tag desc limit 1;
        turn := greatest(turn, fair_clock(r.payload->>'class') - 1);
      end if;
      turn := turn + 1;
      job_priority := sluice.job_priority(coalesce((r.payload->>'priority')::int, 0), turn);
      r.payload := r.payload || jsonb_build_object('fair_tag', turn, 'job_priority', job_priority);
      insert into domain_events (event_id, task_id, tenant_id, type, operation, target, actor, payload)
        values (r.event_id, r.task_id, r.tenant, 'task.requested', r.operation, r.target, r.actor, r.payload);
    elsif outcome = 'joined' and r.actor <> standing.requested_by and not r.actor = any(standing.joined_by) then
      begin
        insert into domain_events (task_id, tenant_id, type, actor, payload)
          values (task_id, r.tenant, 'task.joined', r.actor, jsonb_strip_nulls(jsonb_build_object('source', r.payload->'source',
            'made_by', r.payload #> '{requester,made_by}')));
      exception when sqlstate 'SL001' then
        -- It ended between the look and the join: the request is a new one, and the caller brings it again.
        raise exception 'the task ended while it was joined' using errcode = '23505';
      end;
    end if;

    if r.idempotency_key is not null and outcome in ('accepted', 'joined') then
      delete from idempotency_keys k
        where k.tenant_id = r.tenant and k.principal = r.actor and k.key = r.idempotency_key and k.expires_at <= now();
      insert into idempotency_keys (tenant_id, principal, key, request_hash, task_id, status, deduplicated, expires_at)
        values (r.tenant, r.actor, r.idempotency_key, r.request_hash, task_id, status, deduplicated, now() + interval '24 hours');
    end if;
    return next;
  end loop;
end $$;

revoke all on function sluice.project_requests(), sluice.accept_together(jsonb), sluice.accept_one_by_one(jsonb) from public;
