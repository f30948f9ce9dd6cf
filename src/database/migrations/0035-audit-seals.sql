-- The log is the audit. Once nothing can appear before an event any more, it gets its place in its tenant's chain of
-- hashes. The chain stands beside the log, and is made behind it: nobody who writes an event waits for another.

create table sluice.audit_seals (
  tenant_id text not null,
  -- Of its first event among the tenant's: 1, 2, 3 …
  position bigint not null check (position > 0),
  events int not null check (events > 0),
  -- The number up to which the log was sealed when this was written; all seals of a round share it.
  round bigint not null,
  -- Of each event its number, ascending, and its link: the hash over the event and the link before (src/audit/chain.ts).
  seqs bigint[] not null,
  links bytea not null,
  -- All within one month: a seal goes with its partition of the log.
  from_at timestamptz not null,
  to_at timestamptz not null,
  sealed_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, position, from_at)
) partition by range (from_at);
-- Hashes cannot be compressed.
alter table sluice.audit_seals alter column links set storage external;
create index audit_seals_round on sluice.audit_seals (round, tenant_id, position);
create table sluice.audit_seals_default partition of sluice.audit_seals default;

-- What the seals of a dropped partition said at their end: the chain goes on behind it.
create table sluice.audit_checkpoints (
  tenant_id text not null,
  position bigint not null,
  events bigint not null,
  round bigint not null,
  link bytea not null,
  partition text not null,
  dropped_at timestamptz not null default clock_timestamp(),
  primary key (tenant_id, position)
);
create index audit_checkpoints_round on sluice.audit_checkpoints (round, tenant_id, position);
-- When the tenants' logs said so themselves.
alter table sluice.log_checkpoints add column noted_at timestamptz;
update sluice.log_checkpoints set noted_at = clock_timestamp();

create function sluice.refuse_seal_write() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('role') = 'sluice_retention' then
    return old;
  end if;
  raise exception '% refuses %: the audit is append-only', tg_table_name, lower(tg_op) using errcode = 'SL003';
end $$;
create trigger append_only before update or delete on sluice.audit_seals
  for each row execute function sluice.refuse_seal_write();
create trigger append_only before update or delete on sluice.audit_checkpoints
  for each row execute function sluice.refuse_seal_write();
create trigger keep before truncate on sluice.audit_seals
  for each statement execute function sluice.refuse_seal_write();
create trigger keep before truncate on sluice.audit_seals_default
  for each statement execute function sluice.refuse_seal_write();
create trigger keep before truncate on sluice.audit_checkpoints
  for each statement execute function sluice.refuse_seal_write();

create or replace function sluice.make_event_partitions(months_ahead int) returns void
language plpgsql security definer set search_path = sluice, pg_catalog as $$
declare
  month timestamptz := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC';
  next_month timestamptz;
  partition text;
begin
  perform pg_advisory_xact_lock(hashtextextended('sluice.make_event_partitions', 0));
  for i in 0..months_ahead loop
    next_month := ((month at time zone 'UTC') + interval '1 month') at time zone 'UTC';
    partition := 'domain_events_' || to_char(month at time zone 'UTC', 'YYYY_MM');
    if to_regclass('sluice.' || partition) is null then
      execute format('create table sluice.%I partition of sluice.domain_events for values from (%L) to (%L)',
        partition, month, next_month);
      -- Row triggers are cloned to a new partition by PostgreSQL, truncate triggers are not.
      execute format('create trigger domain_events_keep before truncate on sluice.%I for each statement '
        'execute function sluice.refuse_write(''the log is append-only'')', partition);
    end if;
    partition := 'audit_seals_' || to_char(month at time zone 'UTC', 'YYYY_MM');
    if to_regclass('sluice.' || partition) is null then
      execute format('create table sluice.%I partition of sluice.audit_seals for values from (%L) to (%L)',
        partition, month, next_month);
      execute format('create trigger keep before truncate on sluice.%I for each statement '
        'execute function sluice.refuse_seal_write()', partition);
    end if;
    month := next_month;
  end loop;
end $$;
select sluice.make_event_partitions(3);

-- The number up to which everything is sealed.
create function sluice.sealed_up_to() returns bigint
language sql stable security definer set search_path = sluice, pg_catalog as $$
  select greatest((select max(round) from audit_seals), (select max(round) from audit_checkpoints), 0)
$$;

-- Drops the oldest partition of the log that ended before a time, once no task that it speaks of is kept and all of it
-- is sealed. Leaves a checkpoint of the log, and one of each tenant's chain. Returns its name, or null when there is none.
create or replace function sluice.drop_sealed_partition(ended_before timestamptz) returns text
language plpgsql security definer set search_path = sluice, pg_catalog as $$
declare
  part text;
  lower_bound timestamptz;
  upper_bound timestamptz;
  newest bigint;
begin
  if current_setting('role') <> 'sluice_retention' then
    raise exception 'drop_sealed_partition is for sluice_retention' using errcode = 'SL003';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('sluice.make_event_partitions', 0));
  select c.relname into part from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'sluice.domain_events'::regclass and c.relname ~ '^domain_events_\d{4}_\d{2}$' order by 1 limit 1;
  if part is null then return null; end if;
  lower_bound := to_date(right(part, 7), 'YYYY_MM')::timestamp at time zone 'UTC';
  upper_bound := (to_date(right(part, 7), 'YYYY_MM')::timestamp + interval '1 month') at time zone 'UTC';
  if upper_bound > ended_before or exists (select from tasks t where t.created_at < upper_bound) then
    return null;
  end if;
  execute format('select max(seq) from sluice.%I', part) into newest;
  if newest > sealed_up_to() then return null; end if;
  set local lock_timeout = '2s';

  insert into audit_checkpoints (tenant_id, position, events, round, link, partition)
  select i.tenant_id, i.position, i.events, i.round, substring(s.links from 32 * (s.events - 1) + 1 for 32), part
  from (
    -- Runs without a gap: events that were numbered at midnight may lie in either month.
    select k.tenant_id, min(k.position) as position, sum(k.events) as events, max(k.round) as round
    from (select a.tenant_id, a.position, a.events, a.round,
        a.position - sum(a.events) over (partition by a.tenant_id order by a.position) + a.events as run
      from audit_seals a where a.from_at >= lower_bound and a.from_at < upper_bound) k
    group by k.tenant_id, k.run) i
  join audit_seals s on s.tenant_id = i.tenant_id and s.position + s.events = i.position + i.events
    and s.from_at >= lower_bound and s.from_at < upper_bound;
  execute format('insert into log_checkpoints (partition, from_seq, to_seq, events, digest)
    select %L, coalesce(min(seq), 0), coalesce(max(seq), 0), count(*), encode(sha256((select coalesce(string_agg(c.link, %L::bytea
      order by c.tenant_id, c.position), %L::bytea) from audit_checkpoints c where c.partition = %L)), ''hex'')
    from sluice.%I', part, '', '', part, part);
  execute format('drop table sluice.%I', part);
  execute format('drop table if exists sluice.%I', 'audit_seals_' || right(part, 7));
  -- Those of a month that was over before there were seals stand in the default partition.
  delete from audit_seals a where a.from_at >= lower_bound and a.from_at < upper_bound;
  return part;
end $$;

revoke all on sluice.audit_seals, sluice.audit_checkpoints from public;
revoke all on function sluice.sealed_up_to(), sluice.refuse_seal_write() from public;
grant select on sluice.audit_seals, sluice.audit_checkpoints, sluice.log_checkpoints
  to sluice_api, sluice_worker, sluice_feed;
grant insert on sluice.audit_seals to sluice_worker;
grant update (noted_at) on sluice.log_checkpoints to sluice_worker;
grant execute on function sluice.sealed_up_to() to sluice_api, sluice_worker, sluice_feed;

do $$
declare t text;
begin
  foreach t in array array['audit_seals', 'audit_checkpoints'] loop
    execute format('alter table sluice.%I enable row level security', t);
    execute format('create policy one_tenant on sluice.%I to sluice_api using (tenant_id = current_setting(''sluice.tenant'', true))', t);
    execute format('create policy every_tenant on sluice.%I to sluice_worker, sluice_feed using (true) with check (true)', t);
  end loop;
end $$;
