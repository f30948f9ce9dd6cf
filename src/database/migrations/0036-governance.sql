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
