-- A schedule whose owner may not ask any more is skipped, and its owner is told.

-- Who else had the token in hand that its owner wrote it with: they do not decide what it asks for.
alter table sluice.schedules add column made_by text[] not null default '{}';

alter table sluice.notifications drop constraint notifications_kind_check;
-- Not checked against what is there: all of it fits, and the table may be long.
alter table sluice.notifications add constraint notifications_kind_check check (kind in ('approval_pending',
  'approval_decided', 'approval_expired', 'approval_changed', 'task_ended', 'batch_ended', 'dead_letter',
  'schedule_skipped')) not valid;
-- Where the change is that it tells of, where a role says so of its members: who has the role elsewhere hears nothing.
alter table sluice.notifications add column environment text;

-- Newest first, and what came since: without it each look reads everything that a role ever heard of.
create index notifications_newest on sluice.notifications (tenant_id, seq);

-- What an event tells whom. Of a batch each ticket and the end are told once, for all of its items. One that moves no task says itself what it tells (`tells`), where its type does not.
create or replace function sluice.make_notifications() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare
  task tasks;
  about text := coalesce(new.task_id::text, new.payload->>'task');
  what text;
  whom text[];
  place text := new.payload->>'environment';
  wanted boolean := exists (select from webhooks w where w.tenant_id = new.tenant_id and w.deleted_at is null);
begin
  what := case
    when new.task_id is null and new.payload ? 'tells' then new.payload->>'tells'
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
      select e.payload->>'environment' into place from domain_events e
        where e.task_id = task.task_id and e.event_id = task.request_event_id and e.at = task.created_at;
    end if;
  end if;
  if cardinality(whom) = 0 then
    return null;
  end if;
  insert into notifications (seq, tenant_id, kind, recipients, except_principals, environment, task_id, data,
      dispatched_at)
    values (new.seq, new.tenant_id, what, array(select distinct new.tenant_id || '/' || w from unnest(whom) w),
      array[new.actor] || array(select jsonb_array_elements_text(new.payload->'except'))
        || array(select jsonb_array_elements_text(new.payload #> '{requester,made_by}')),
      place, new.task_id,
      jsonb_strip_nulls(jsonb_build_object('event', new.type, 'actor', new.actor, 'operation', task.operation,
        'target', task.target, 'status', coalesce(task.status, new.payload->>'status'),
        'ticket', coalesce(task.ticket_id::text, new.payload->>'ticket'), 'task', about,
        'batch', new.payload->>'batch', 'items', new.payload->'items', 'comment', new.payload->>'comment',
        'explain', new.payload->>'explain', 'name', new.payload->>'name',
        'detail', coalesce(new.payload #>> '{error,detail}', new.payload->>'outcome'))),
      case when wanted then null else clock_timestamp() end);
  return null;
end $$;

drop trigger domain_events_notify on sluice.domain_events;
create trigger domain_events_notify after insert on sluice.domain_events for each row
  when (new.type in ('task.completed', 'task.failed', 'task.timed_out', 'task.cancelled', 'task.approved', 'task.rejected',
      'task.expired')
    or (new.type = 'task.requested' and new.payload ? 'ticket')
    or (new.task_id is null and new.payload ? 'notify'))
  execute function sluice.make_notifications();
