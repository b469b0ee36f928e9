-- What finds a number in the log. Partition by partition, today's after those that nobody writes to any more, and the whole log's last:
-- that one finds the others made and takes a moment.

set local search_path = pg_catalog;
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

do $$
declare
    place regclass;
begin
    for place in select partition from gatekeeper.partitions('public.eliza_activity_log') order by ends nulls last loop
        execute format('create index on %s (instance, seq) where instance is not null', place);
    end loop;
    create index eliza_activity_log_instance_seq on public.eliza_activity_log (instance, seq) where instance is not null;
end
$$;
