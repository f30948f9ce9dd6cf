-- Secrets in the inputs of tasks and schedules. The log says that there was one; it stands here, sealed, and goes with
-- its task or schedule.
create table sluice.input_secrets (
  -- Of the task or the schedule.
  owner_id uuid not null,
  tenant_id text not null,
  -- Where in the input (RFC 6901).
  pointer text not null,
  sealed text not null,
  primary key (owner_id, pointer)
);

-- Rows bring their own tenant, as in accept_tasks: the task must have been accepted in it, by this very transaction.
create function sluice.keep_task_secrets(secrets jsonb) returns void
language plpgsql security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare kept int;
begin
  if current_setting('role') <> 'sluice_api' then
    raise exception 'keep_task_secrets is for sluice_api' using errcode = 'SL003';
  end if;
  insert into input_secrets (owner_id, tenant_id, pointer, sealed)
    select x.owner_id, x.tenant_id, x.pointer, x.sealed
    from jsonb_to_recordset(secrets) as x (owner_id uuid, tenant_id text, pointer text, sealed text)
    join tasks t on t.task_id = x.owner_id and t.tenant_id = x.tenant_id and t.xmin = pg_current_xact_id()::xid;
  get diagnostics kept = row_count;
  if kept <> jsonb_array_length(secrets) then
    raise exception 'a secret belongs to no task that was accepted here' using errcode = 'SL003';
  end if;
end $$;

create function sluice.drop_input_secrets() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog as $$
begin
  delete from input_secrets where owner_id = (to_jsonb(old)->>tg_argv[0])::uuid;
  return null;
end $$;
create trigger tasks_drop_secrets after delete on sluice.tasks
  for each row execute function sluice.drop_input_secrets('task_id');
create trigger schedules_drop_secrets after delete on sluice.schedules
  for each row execute function sluice.drop_input_secrets('schedule_id');

revoke all on sluice.input_secrets from public;
revoke all on function sluice.keep_task_secrets(jsonb), sluice.drop_input_secrets() from public;
grant execute on function sluice.keep_task_secrets(jsonb) to sluice_api;
grant select, insert, delete on sluice.input_secrets to sluice_api;
grant select, update (sealed) on sluice.input_secrets to sluice_worker;
alter table sluice.input_secrets enable row level security;
create policy one_tenant on sluice.input_secrets to sluice_api using (tenant_id = current_setting('sluice.tenant', true));
create policy every_tenant on sluice.input_secrets to sluice_worker using (true) with check (true);

-- The outer key of secrets is replaced by rewrapping their data keys, in every tenant.
grant select (tenant_id, name, sealed_credentials), update (sealed_credentials) on sluice.clusters to sluice_worker;
create policy every_tenant on sluice.clusters to sluice_worker using (true) with check (true);

-- As in migration 0030; who joins a task comes from somewhere, too, and may have been given the token by somebody.
create or replace function sluice.accept_one_by_one(requests jsonb)
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
