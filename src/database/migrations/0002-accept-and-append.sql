-- The only two ways in which the API's role writes the log.

-- Accepts up to a few hundred requests in one call; each row brings its own tenant. Per request, in order of `idx`:
-- outcome 'accepted' | 'joined' | 'replayed' | 'key_reused' | 'conflict', or as `payload.refused` says, or
-- 'tickets_of_requester' | 'tickets_of_tenant' (too many are open); only 'accepted' has written a request event.
-- A lost race on a key raises 23505, and the caller tries the requests one by one.
create function sluice.accept_tasks(requests jsonb)
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
begin
  if current_setting('role') <> 'sluice_api' then
    raise exception 'accept_tasks is for sluice_api' using errcode = 'SL003';
  end if;
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
    if outcome = 'accepted' and r.payload ? 'ticket' then
      full_for := open_ticket(r.tenant, r.task_id, r.actor, r.payload);
      if full_for is not null then
        outcome := 'tickets_of_' || full_for;
      end if;
    end if;
    job_priority := null;
    if outcome = 'accepted' then
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
          values (task_id, r.tenant, 'task.joined', r.actor, '{}');
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

-- Appends one event on behalf of a caller of the API, in the tenant that the transaction is bound to.
create function sluice.append_event(task uuid, event_type text, by_actor text, data jsonb)
returns table (seq bigint, at timestamptz)
language plpgsql security definer set search_path = sluice, pg_catalog as $$
begin
  return query
    insert into domain_events (task_id, tenant_id, type, actor, payload)
    values (task, current_setting('sluice.tenant'), event_type, by_actor, data)
    returning domain_events.seq, domain_events.at;
end $$;

-- Who may do what. A role reads and writes only what is listed here.
revoke all on all tables in schema sluice from public;
revoke all on all functions in schema sluice from public;
grant usage on schema sluice to sluice_api, sluice_worker, sluice_feed;
grant select on sluice.domain_events, sluice.tasks, sluice.resources, sluice.waits to sluice_api, sluice_worker, sluice_feed;
grant select on sluice.idempotency_keys to sluice_api, sluice_worker;
grant select on sluice.legal_moves, sluice.event_seq to sluice_api, sluice_worker, sluice_feed;
grant execute on function sluice.accept_tasks(jsonb), sluice.append_event(uuid, text, text, jsonb) to sluice_api;
grant insert on sluice.domain_events to sluice_worker;
grant insert, update, delete on sluice.waits to sluice_worker;
grant insert, update on sluice.resources to sluice_worker;
grant delete on sluice.idempotency_keys to sluice_worker;
grant execute on function sluice.make_event_partitions(int) to sluice_worker;

-- A transaction of the API sees one tenant; the worker's and the feed's roles pass all, and carry the event's tenant.
do $$
declare t text;
begin
  foreach t in array array['domain_events', 'tasks', 'waits', 'resources', 'idempotency_keys'] loop
    execute format('alter table sluice.%I enable row level security', t);
    execute format('create policy one_tenant on sluice.%I to sluice_api using (tenant_id = current_setting(''sluice.tenant'', true))', t);
    execute format('create policy every_tenant on sluice.%I to sluice_worker, sluice_feed using (true) with check (true)', t);
  end loop;
end $$;
