-- Notifications: written by the event that they tell of, in its transaction, by whatever process appends it.

create table sluice.notifications (
  notification_id uuid primary key default gen_random_uuid(),
  -- Of the event: the order, and the cursor of the live feed.
  seq bigint not null,
  tenant_id text not null,
  kind text not null check (kind in ('approval_pending', 'approval_decided', 'approval_expired', 'approval_changed',
    'task_ended', 'batch_ended', 'dead_letter')),
  -- 'tenant/principal:name', 'tenant/role:name' or 'tenant/group:name': one row for all whom the event concerns.
  recipients text[] not null,
  -- Those among them who know already: who did it, and who may not decide on it.
  except_principals text[] not null default '{}',
  task_id uuid,
  data jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  -- Null while its deliveries (e-mail, webhooks) have not been made yet.
  dispatched_at timestamptz
);
create index notifications_recipients on sluice.notifications using gin (recipients);
create index notifications_age on sluice.notifications (created_at);
create index notifications_undispatched on sluice.notifications (seq) where dispatched_at is null;

create table sluice.notification_reads (
  notification_id uuid not null references sluice.notifications on delete cascade,
  tenant_id text not null,
  principal text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (principal, notification_id)
);
create index notification_reads_of on sluice.notification_reads (notification_id);

create table sluice.notification_preferences (
  tenant_id text not null,
  principal text not null,
  -- Kinds that the person does not want to hear of.
  muted text[] not null,
  primary key (tenant_id, principal)
);

-- Where notifications of a tenant go besides the inbox. The secret is sealed with a key that is not in the database.
create table sluice.webhooks (
  webhook_id uuid primary key,
  tenant_id text not null,
  style text not null check (style in ('standard', 'slack', 'email')),
  url text not null,
  kinds text[] not null,
  sealed_secret text,
  sealed_previous_secret text,
  previous_until timestamptz,
  disabled_at timestamptz,
  disabled_reason text,
  created_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  deleted_at timestamptz
);
create index webhooks_of on sluice.webhooks (tenant_id) where deleted_at is null;

-- One message to one endpoint, with every try.
create table sluice.deliveries (
  delivery_id uuid primary key,
  tenant_id text not null,
  webhook_id uuid not null references sluice.webhooks,
  notification_id uuid not null,
  body jsonb not null,
  state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  -- [{ at, status, error, duration_ms }], the newest last.
  tries jsonb not null default '[]',
  replay_of uuid,
  created_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
);
create index deliveries_of on sluice.deliveries (webhook_id, delivery_id);
create index deliveries_age on sluice.deliveries (created_at);

create function sluice.make_notifications() returns trigger
language plpgsql security definer set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
declare
  task tasks;
  about text := coalesce(new.task_id::text, new.payload->>'task');
  what text;
  whom text[];
  wanted boolean := exists (select from webhooks w where w.tenant_id = new.tenant_id and w.deleted_at is null);
begin
  what := case
    when new.type in ('task.requested', 'ticket.approved') then 'approval_pending'
    when new.type in ('task.approved', 'task.rejected') then 'approval_decided'
    when new.type = 'task.expired' then 'approval_expired'
    when new.type = 'ticket.changed' then 'approval_changed'
    when new.type = 'batch.ended' then 'batch_ended'
    when (new.payload->>'dead_lettered')::boolean then 'dead_letter'
    else 'task_ended' end;

  if new.task_id is not null then
    select * into task from tasks t where t.task_id = new.task_id;
    -- The end of a batch is told once, for all of its items.
    if task.batch_id is not null and what = 'task_ended' then
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
    whom := 'principal:' || task.requested_by || array(select 'principal:' || j from unnest(task.joined_by) j);
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
        'target', task.target, 'status', task.status, 'ticket', coalesce(new.payload->>'ticket', task.ticket_id::text),
        'task', about, 'comment', new.payload->>'comment', 'explain', new.payload->>'explain',
        'detail', new.payload #>> '{error,detail}')),
      case when wanted then null else clock_timestamp() end);
  return null;
end $$;

create trigger domain_events_notify after insert on sluice.domain_events for each row
  when (new.type in ('task.completed', 'task.failed', 'task.timed_out', 'task.cancelled', 'task.approved', 'task.rejected',
      'task.expired')
    or (new.type = 'task.requested' and new.payload ? 'ticket')
    or (new.type in ('ticket.approved', 'ticket.changed', 'batch.ended') and new.payload ? 'notify'))
  execute function sluice.make_notifications();

revoke all on sluice.notifications, sluice.notification_reads, sluice.notification_preferences, sluice.webhooks,
  sluice.deliveries from public;
revoke all on function sluice.make_notifications() from public;
grant select on sluice.notifications to sluice_api, sluice_feed;
grant select, insert on sluice.notification_reads to sluice_api;
grant select, insert, update on sluice.notification_preferences to sluice_api;
grant select, insert, update on sluice.webhooks to sluice_api;
grant select, insert on sluice.deliveries to sluice_api;
grant select, update, delete on sluice.notifications to sluice_worker;
grant select, delete on sluice.notification_reads to sluice_worker;
grant select on sluice.notification_preferences to sluice_worker;
grant select, update on sluice.webhooks to sluice_worker;
grant select, insert, update, delete on sluice.deliveries to sluice_worker;

do $$
declare t text;
begin
  foreach t in array array['notifications', 'notification_reads', 'notification_preferences', 'webhooks', 'deliveries'] loop
    execute format('alter table sluice.%I enable row level security', t);
    execute format('create policy one_tenant on sluice.%I to sluice_api using (tenant_id = current_setting(''sluice.tenant'', true))', t);
    execute format('create policy every_tenant on sluice.%I to sluice_worker, sluice_feed using (true) with check (true)', t);
  end loop;
end $$;
