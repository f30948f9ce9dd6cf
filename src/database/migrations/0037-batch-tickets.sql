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
-- Who else had the token in hand that it was given with.
alter table sluice.decisions add column made_by text[] not null default '{}';
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

-- Appends an event to each of many tasks on behalf of a caller of the API, as append_event does to one: by one statement.
create function sluice.append_to_each(event_type text, by_actor text, data jsonb, events jsonb) returns void
language sql security definer set search_path = sluice, pg_catalog as $$
  insert into domain_events (task_id, tenant_id, type, actor, payload)
    select x.task_id, current_setting('sluice.tenant'), event_type, by_actor, data || x.more
    from jsonb_to_recordset(events) as x (task_id uuid, more jsonb) order by x.task_id
$$;
revoke all on function sluice.append_to_each(text, text, jsonb, jsonb) from public;
grant execute on function sluice.append_to_each(text, text, jsonb, jsonb) to sluice_api;

-- Policy moves an item of a batch to another ticket of it.
insert into sluice.legal_moves (type, from_status, to_status, role)
  values ('task.regated', 'AWAITING_APPROVAL', 'AWAITING_APPROVAL', 'sluice_api');

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
