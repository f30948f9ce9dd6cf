-- The record of an analysis stands beside those of objects: running from the moment its commit is known, then as its task
-- ended. `details` is what was found.
alter table sluice.resources add column details jsonb,
  drop constraint resources_state_check,
  add constraint resources_state_check check
    (state in ('present', 'deleted', 'running', 'completed', 'failed', 'timed_out', 'cancelled')) not valid;
alter table sluice.resources validate constraint resources_state_check;
create index resources_running on sluice.resources (task_id) where state = 'running';

-- However a task ends (by its worker, by the upkeep of another, as a dead letter), what it left running has ended with it, in
-- the same transaction: no record says "running" of what nobody runs. A result writes its own record after that.
create function sluice.end_running_records() returns trigger
language plpgsql set search_path = sluice, pg_catalog set enable_seqscan = off set jit = off as $$
begin
  update resources set state = substr(new.type, length('task.') + 1), updated_at = new.at,
    conditions = jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('type', 'Completed',
      'status', case when new.type = 'task.completed' then 'True' else 'False' end,
      'reason', new.payload->'error'->'code', 'message', new.payload->'error'->'detail')))
    where task_id = new.task_id and state = 'running';
  return null;
end $$;
revoke all on function sluice.end_running_records() from public;
create trigger domain_events_end_records after insert on sluice.domain_events
  for each row when (new.type in ('task.completed', 'task.failed', 'task.timed_out', 'task.cancelled'))
  execute function sluice.end_running_records();
