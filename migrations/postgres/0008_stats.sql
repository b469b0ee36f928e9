-- Statistics that say more: how long calls take at worst and for nearly all of them, and what they were about. Retention touches none.

set local search_path = pg_catalog;
set local client_min_messages = warning;
set local lock_timeout = '10s';

alter table gatekeeper.call_stats add column duration_ms_max bigint not null default 0;

-- How many calls took up to so many milliseconds and longer than the next shorter step.
create table gatekeeper.call_durations (
    day      date    not null,
    source   text    not null,
    target   text    not null,
    up_to_ms integer not null,
    calls    bigint  not null default 0,
    primary key (day, source, target, up_to_ms)
);

-- As call_stats, by action. Actions that a source uses too many of count together, as for its limits.
create table gatekeeper.action_stats (
    hour            timestamptz not null,
    source          text        not null,
    target          text        not null,
    action          text        not null,
    successful      bigint      not null default 0,
    failed          bigint      not null default 0,
    denied          bigint      not null default 0,
    duration_ms_sum bigint      not null default 0,
    duration_ms_max bigint      not null default 0,
    primary key (hour, source, target, action)
);

alter table gatekeeper.call_durations enable row level security;
alter table gatekeeper.action_stats enable row level security;

create or replace view public.eliza_gatekeeper_stats as
select source,
       target,
       sum(successful + failed + denied)::bigint as total_calls,
       sum(successful)::bigint as successful_calls,
       sum(failed)::bigint as failed_calls,
       -- Over the calls that were let through: a refusal takes no time worth knowing.
       round(sum(duration_ms_sum) / nullif(sum(successful + failed), 0), 2) as avg_duration_ms,
       max(last_call_at) as last_call_at,
       sum(denied)::bigint as denied_calls,
       min(first_call_at) as first_call_at,
       -- No more than this: the end of the step in which it lies.
       min(slow.p95_duration_ms) as p95_duration_ms,
       max(duration_ms_max) as max_duration_ms
from gatekeeper.call_stats
left join (
    select source, target, min(up_to_ms) filter (where calls_up_to >= 0.95 * calls) as p95_duration_ms
    from (
        select source, target, up_to_ms,
               sum(sum(calls)) over (partition by source, target order by up_to_ms) as calls_up_to,
               sum(sum(calls)) over (partition by source, target) as calls
        from gatekeeper.call_durations
        group by source, target, up_to_ms
    ) as steps
    group by source, target
) as slow using (source, target)
group by source, target;

-- A view that is replaced has lost its options.
do $$
begin
    if current_setting('server_version_num')::integer >= 150000 then
        alter view public.eliza_gatekeeper_stats set (security_invoker = true);
    end if;
end
$$;

select gatekeeper.close_to_all(array['gatekeeper.call_durations', 'gatekeeper.action_stats']::regclass[]);

do $$
declare
    reader name;
begin
    -- The stats view asks for its reader's own right to what it sums up.
    for reader in
        select rolname from pg_policy join pg_roles on pg_roles.oid = any (polroles)
        where polrelid = 'gatekeeper.call_stats'::regclass and polname = 'stats for ' || rolname
    loop
        execute format('grant select on gatekeeper.call_durations to %I', reader);
        execute format('create policy %I on gatekeeper.call_durations for select to %I using (true)', 'stats for ' || reader, reader);
    end loop;
end
$$;
