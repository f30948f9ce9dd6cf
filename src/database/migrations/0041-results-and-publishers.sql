-- Results too large for a row of the log: where their bytes are. The row is written before the bytes, so that no bytes
-- are ever without one.
create table sluice.stored_results (
  task_id uuid not null,
  attempt int not null,
  tenant_id text not null,
  object_key text not null,
  media_type text not null,
  -- Null while the bytes are on their way.
  bytes bigint,
  sha256 text,
  -- Whether the task's outcome is this one. What is not, is a leftover of an attempt that ended otherwise.
  settled boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  primary key (task_id, attempt)
);
create index stored_results_age on sluice.stored_results (created_at);
create index stored_results_unsettled on sluice.stored_results (created_at) where not settled;

grant select on sluice.stored_results to sluice_api, sluice_feed;
grant select, insert, update, delete on sluice.stored_results to sluice_worker;
alter table sluice.stored_results enable row level security;
create policy one_tenant on sluice.stored_results to sluice_api using (tenant_id = current_setting('sluice.tenant', true));
create policy every_tenant on sluice.stored_results to sluice_worker, sluice_feed using (true) with check (true);

-- Who publishes the log to other programs, and up to which number it has done so. One process at a time: whoever holds
-- the row's lease, and only while its word for the cursor is the row's.
create table sluice.event_publishers (
  name text primary key,
  cursor bigint not null,
  holder text,
  lease_until timestamptz,
  updated_at timestamptz not null default clock_timestamp()
);
