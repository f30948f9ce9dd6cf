-- A wait carries the trace of the attempt that parked it, so that its finish continues it without a look at the log.
alter table sluice.waits add column traceparent text;

-- A batch holds ten tasks, not the thousand that PostgreSQL assumes: what is joined to it is looked up, not scanned.
alter function sluice.start_attempts(jsonb, text) rows 10;
