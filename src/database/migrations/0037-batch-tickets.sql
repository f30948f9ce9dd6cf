-- Items of a batch that need an approval share one ticket per policy rule.

alter table sluice.tickets alter column task_id drop not null;
alter table sluice.tickets add column batch_id uuid;
alter table sluice.tickets add constraint tickets_subject check ((task_id is null) <> (batch_id is null));
create unique index tickets_of_batch on sluice.tickets (batch_id, rule_digest) where state = 'open' and batch_id is not null;

-- Which items of its batch a ticket is about. Policy may move an item to another ticket of the batch, never the log.
create table sluice.ticket_items (
  task_id uuid primary key,
  ticket_id uuid not null references sluice.tickets,
  tenant_id text not null,
  -- The item's place in its batch, from 0.
  position int not null,
  payload_hash text not null
);
create index ticket_items_of on sluice.ticket_items (ticket_id, position);

-- The items that a rejection names; null: it is about all that the ticket holds. Who rejected some may decide on the rest.
alter table sluice.decisions add column items uuid[];
drop index sluice.decisions_once;
create unique index decisions_once on sluice.decisions (ticket_id, principal) where dropped_at is null and items is null;

-- What a decision on a batch's ticket repeats: SHA-256 over the hashes of the items that wait for it, as the canonical
-- JSON array (RFC 8785) in the order of the batch.
create function sluice.items_hash(of_ticket uuid) returns text
language sql stable set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
  select encode(sha256(convert_to('["' || string_agg(i.payload_hash, '","' order by i.position) || '"]', 'UTF8')), 'hex')
  from ticket_items i join tasks t on t.task_id = i.task_id
  where i.ticket_id = of_ticket and t.status = 'AWAITING_APPROVAL'
$$;

-- Opens a ticket for items of a batch, in the tenant that the transaction is bound to, after their acceptance. Null when
-- opened; otherwise whose limit is reached. Without limits and items it is opened to take over those of another ticket.
create function sluice.open_batch_ticket(of_batch uuid, actor text, ticket jsonb, items jsonb) returns text
language plpgsql security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare
  tenant text := current_setting('sluice.tenant');
  id uuid := (ticket->>'ticket_id')::uuid;
begin
  -- The same lock as for the ticket of one task: two acceptances at once cannot both take the last place.
  perform pg_advisory_xact_lock(hashtextextended('sluice.open_ticket/' || tenant, 0));
  if (select count(*) from tickets k where k.tenant_id = tenant and k.requested_by = actor and k.state = 'open')
      >= (ticket->>'limit_per_requester')::int then
    return 'requester';
  end if;
  if (select count(*) from tickets k where k.tenant_id = tenant and k.state = 'open') >= (ticket->>'limit_per_tenant')::int then
    return 'tenant';
  end if;
  insert into tickets (ticket_id, batch_id, tenant_id, rule, rule_digest, policy_version, environment, payload_hash,
      stages, requested_by, expires_at)
    values (id, of_batch, tenant, ticket->>'rule', ticket->>'rule_digest', (ticket->>'policy_version')::int,
      ticket->>'environment', '', ticket->'stages', actor,
      clock_timestamp() + make_interval(secs => (ticket->>'expires_in_ms')::float8 / 1000));
  insert into ticket_items (task_id, ticket_id, tenant_id, position, payload_hash)
    select t.task_id, id, tenant, x.position, x.payload_hash
    from jsonb_to_recordset(items) as x (task_id uuid, position int, payload_hash text)
    join tasks t on t.task_id = x.task_id and t.tenant_id = tenant and t.batch_id = of_batch
      and t.status = 'AWAITING_APPROVAL';
  update tickets k set payload_hash = coalesce(items_hash(id), '') where k.ticket_id = id;
  return null;
end $$;

-- Policy moves an item of a batch to another ticket of it.
insert into sluice.legal_moves (type, from_status, to_status, role)
  values ('task.regated', 'AWAITING_APPROVAL', 'AWAITING_APPROVAL', 'sluice_api');

-- As in migration 0030, with `task.regated`.
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

-- What moved is summed up while the transaction goes on, and written to its batch once, at the end: ten thousand updates
-- of one row in one transaction would each read past all of those before.
create function sluice.sum_batch_moves() returns trigger
language plpgsql set search_path = sluice, pg_catalog as $$
declare
  sums jsonb := coalesce(nullif(current_setting('sluice.batch_moves', true), '')::jsonb, '{}');
  of_batch jsonb := coalesce(sums->new.batch_id::text, '{}');
begin
  of_batch := of_batch || jsonb_build_object(old.status, coalesce((of_batch->>old.status)::int, 0) - 1);
  of_batch := of_batch || jsonb_build_object(new.status, coalesce((of_batch->>new.status)::int, 0) + 1);
  perform set_config('sluice.batch_moves', (sums || jsonb_build_object(new.batch_id, of_batch))::text, true);
  return null;
end $$;
create trigger tasks_sum_batch_moves after update on sluice.tasks
  for each row when (new.batch_id is not null and new.status <> old.status) execute function sluice.sum_batch_moves();

-- The first of a transaction's moves writes the sums of all, batch by batch in one order: by then every task's row is
-- locked, and nobody waits for a batch's row while holding it. The requester hears when the last item has ended.
create or replace function sluice.count_batch() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog as $$
declare
  sums jsonb := nullif(current_setting('sluice.batch_moves', true), '')::jsonb;
  moved record;
  batch batches;
  ended int;
begin
  if sums is null then
    return null;
  end if;
  perform set_config('sluice.batch_moves', '', true);
  for moved in select key::uuid as id, value as by_status from jsonb_each(sums) order by key loop
    update batches b set
      counts = b.counts || (select jsonb_object_agg(s.key, coalesce((b.counts->>s.key)::int, 0) + s.value::int)
        from jsonb_each_text(moved.by_status) s),
      stopping = b.stopping or (b.on_error = 'stop' and exists (select from jsonb_each_text(moved.by_status) s
        where s.value::int > 0 and s.key in ('FAILED', 'TIMED_OUT', 'REJECTED', 'EXPIRED')))
      where batch_id = moved.id returning * into batch;
    select coalesce(sum(coalesce((batch.counts->>s)::int, 0)), 0) into ended from unnest(array['COMPLETED', 'FAILED',
      'TIMED_OUT', 'CANCELLED', 'REJECTED', 'EXPIRED']) s;
    if ended = batch.total and batch.completed_at is null then
      update batches set completed_at = clock_timestamp() where batch_id = moved.id;
      insert into domain_events (tenant_id, type, actor, payload)
        values (batch.tenant_id, 'batch.ended', 'sluice', jsonb_build_object('batch', batch.batch_id,
          'status', case
            when (batch.counts->>'COMPLETED')::int = batch.total then 'COMPLETED'
            when (batch.counts->>'COMPLETED')::int > 0 then 'PARTIALLY_COMPLETED'
            when (batch.counts->>'CANCELLED')::int = batch.total then 'CANCELLED'
            else 'FAILED' end,
          'counts', batch.counts, 'notify', array['principal:' || batch.requested_by]));
    end if;
  end loop;
  return null;
end $$;

-- Retention: with a task its place in a ticket goes.
create or replace function sluice.drop_ended_tasks(ended_before timestamptz, at_most int) returns int
language plpgsql security definer set search_path = sluice, pg_catalog as $$
declare dropped uuid[];
begin
  if current_setting('role') <> 'sluice_retention' then
    raise exception 'drop_ended_tasks is for sluice_retention' using errcode = 'SL003';
  end if;
  dropped := array(select t.task_id from tasks t where t.done and t.completed_at < ended_before
    order by t.completed_at limit at_most);
  delete from tasks where task_id = any(dropped);
  delete from ticket_items where task_id = any(dropped);
  return cardinality(dropped);
end $$;

-- What an event tells whom. Of a batch each ticket and the end are told once, for all of its items.
create or replace function sluice.make_notifications() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare
  task tasks;
  about text := coalesce(new.task_id::text, new.payload->>'task');
  what text;
  whom text[];
  wanted boolean := exists (select from webhooks w where w.tenant_id = new.tenant_id and w.deleted_at is null);
begin
  what := case
    when new.type in ('task.requested', 'ticket.opened', 'ticket.approved') then 'approval_pending'
    when new.type in ('task.approved', 'task.rejected', 'ticket.decided') then 'approval_decided'
    when new.type in ('task.expired', 'ticket.expired') then 'approval_expired'
    when new.type = 'ticket.changed' then 'approval_changed'
    when new.type = 'batch.ended' then 'batch_ended'
    when (new.payload->>'dead_lettered')::boolean then 'dead_letter'
    else 'task_ended' end;

  if new.type = 'task.requested' then
    -- Its task is written when the statement ends.
    task.operation := new.operation;
    task.target := new.target;
    task.status := new.payload->>'status';
    task.ticket_id := (new.payload->>'ticket_id')::uuid;
  elsif new.task_id is not null then
    select * into task from tasks t where t.task_id = new.task_id;
    -- Who joined one item has not asked for the batch, and hears of that item.
    if task.batch_id is not null and what <> 'dead_letter' and cardinality(task.joined_by) = 0 then
      return null;
    end if;
  end if;
  if new.type = 'task.requested' then
    whom := array(
      select 'role:' || r from jsonb_array_elements_text(new.payload #> '{ticket,stages,0,roles}') r
      union all select 'group:' || g from jsonb_array_elements_text(new.payload #> '{ticket,stages,0,groups}') g);
  elsif new.task_id is null then
    whom := array(select jsonb_array_elements_text(new.payload->'notify'));
  else
    whom := array(select 'principal:' || j from unnest(task.joined_by) j);
    if task.batch_id is null or what = 'dead_letter' then
      whom := whom || ('principal:' || task.requested_by);
    end if;
    if what = 'dead_letter' then
      whom := whom || array['role:operator', 'role:admin'];
    end if;
  end if;
  if cardinality(whom) = 0 then
    return null;
  end if;
  insert into notifications (seq, tenant_id, kind, recipients, except_principals, task_id, data, dispatched_at)
    values (new.seq, new.tenant_id, what, array(select distinct new.tenant_id || '/' || w from unnest(whom) w),
      array[new.actor] || case when new.type = 'ticket.approved' then
        array(select jsonb_array_elements_text(coalesce(new.payload->'requesters', '[]'))) else '{}' end,
      new.task_id,
      jsonb_strip_nulls(jsonb_build_object('event', new.type, 'actor', new.actor, 'operation', task.operation,
        'target', task.target, 'status', coalesce(task.status, new.payload->>'status'),
        'ticket', coalesce(task.ticket_id::text, new.payload->>'ticket'), 'task', about,
        'batch', new.payload->>'batch', 'items', new.payload->'items', 'comment', new.payload->>'comment',
        'explain', new.payload->>'explain', 'detail', new.payload #>> '{error,detail}')),
      case when wanted then null else clock_timestamp() end);
  return null;
end $$;

drop trigger domain_events_notify on sluice.domain_events;
create trigger domain_events_notify after insert on sluice.domain_events for each row
  when (new.type in ('task.completed', 'task.failed', 'task.timed_out', 'task.cancelled', 'task.approved', 'task.rejected',
      'task.expired')
    or (new.type = 'task.requested' and new.payload ? 'ticket')
    or (new.type in ('ticket.opened', 'ticket.approved', 'ticket.decided', 'ticket.expired', 'ticket.changed',
      'batch.ended') and new.payload ? 'notify'))
  execute function sluice.make_notifications();

revoke all on sluice.ticket_items from public;
revoke all on function sluice.items_hash(uuid), sluice.open_batch_ticket(uuid, text, jsonb, jsonb),
  sluice.sum_batch_moves() from public;
grant select on sluice.ticket_items to sluice_api, sluice_worker, sluice_feed;
grant update (ticket_id) on sluice.ticket_items to sluice_api;
grant execute on function sluice.items_hash(uuid) to sluice_api;
grant execute on function sluice.open_batch_ticket(uuid, text, jsonb, jsonb) to sluice_api;
alter table sluice.ticket_items enable row level security;
create policy one_tenant on sluice.ticket_items to sluice_api using (tenant_id = current_setting('sluice.tenant', true));
create policy every_tenant on sluice.ticket_items to sluice_worker, sluice_feed using (true) with check (true);
