-- Upkeep: tables that change with every task are vacuumed after 1 % of them, and the catalogue is known, so that
-- `sluice doctor` sees what was changed behind Sluice's back.

-- Tasks, waits, holds, workers and batches are so since they were made.
alter table sluice.idempotency_keys set (autovacuum_vacuum_scale_factor = 0.01);
alter table sluice.resources set (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 80);
alter table sluice.tickets set (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 80);
alter table sluice.ticket_items set (autovacuum_vacuum_scale_factor = 0.01);
alter table sluice.notifications set (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 90);
alter table sluice.deliveries set (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 80);
-- One row each that many transactions write one after the other: kept on their pages.
alter table sluice.limits set (fillfactor = 50);
alter table sluice.cluster_health set (fillfactor = 50);

-- How every object was when a migration left it: columns, indexes, constraints, triggers, functions, policies, grants.
create table sluice.catalogue (
  object text primary key,
  digest text not null
);
revoke all on sluice.catalogue from public;
