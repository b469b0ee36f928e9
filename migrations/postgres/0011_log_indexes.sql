-- What finds a number in the log, and the few calls of a day that went wrong. Each index keeps writers out of what it is built on until
-- all of this is committed, so days that are over come first, in both logs, then those that are written to, and last of all the logs
-- themselves: these find all others made and take a moment.

set local search_path = pg_catalog;
set local timezone = 'UTC';
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

do $$
declare
    part record;
begin
    for part in
        select place.partition, made
        from (values
            ('public.eliza_activity_log', '(instance, seq) where instance is not null'),
            ('public.api_call_logs', '(created_at desc) where status <> ''success''')
        ) as indexes (log, made)
        cross join gatekeeper.partitions(log::regclass) as place
        order by ends > now() or ends is null, log, ends nulls last
    loop
        execute format('create index on %s %s', part.partition, part.made);
    end loop;
end
$$;

create index eliza_activity_log_instance_seq on public.eliza_activity_log (instance, seq) where instance is not null;
create index api_call_logs_troubles on public.api_call_logs (created_at desc) where status <> 'success';
