-- A wait carries the trace of the attempt that parked it, so that its finish continues it without a look at the log.
alter table sluice.waits add column traceparent text;
