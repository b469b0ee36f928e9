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

create or replace function gatekeeper.admit_to_tables(who name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    place  text;
    rights text;
begin
    execute format('grant usage on schema public, gatekeeper to %I', who);
    execute format('grant select on public.eliza_gatekeeper_stats, public.gatekeeper_log_gaps, gatekeeper.migrations to %I', who);
    execute format(
        'grant execute on function gatekeeper.partitions, gatekeeper.make_partitions, gatekeeper.drop_partitions, '
        'gatekeeper.delete_old_rows, gatekeeper.answer, gatekeeper.prepare_partition, gatekeeper.retire_partition, '
        'gatekeeper.retire_rows to %I', who
    );
    foreach place in array array[
        'public.eliza_activity_log', 'public.api_call_logs', 'public.rate_limits',
        'public.eliza_activity_log_archive', 'public.api_call_logs_archive',
        'gatekeeper.call_stats', 'gatekeeper.call_durations', 'gatekeeper.action_stats', 'gatekeeper.keys', 'gatekeeper.signals',
        'gatekeeper.enforcement', 'gatekeeper.blocks', 'gatekeeper.instances', 'gatekeeper.losses'
    ] loop
        -- Not TRIGGER: whoever may hang a trigger on a table can have it run with the rights of the routines above.
        execute format('revoke all on table %s from %I', place, who);
        execute format('grant select, insert, update, delete, truncate on table %s to %I', place, who);
        execute format('drop policy if exists %I on %s', 'gatekeeper admits ' || who, place);
        execute format('create policy %I on %s to %I using (true) with check (true)', 'gatekeeper admits ' || who, place, who);
    end loop;
    -- Tables that may be others' too: rights are added and never taken. What is in the audit is not for changing.
    for place, rights in
        select * from (values
            ('public.feature_flags', 'select, insert, update, delete'),
            ('public.security_audit', 'select, insert'),
            ('public.security_events', 'select, insert')
        ) as shared (place, rights)
        union all
        select format('public.%I', relname), 'select, insert, update, delete' from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r'
          and relname in ('conversation_sessions', 'conversation_messages', 'memory_contexts')
          and obj_description(oid, 'pg_class') like 'Made by the gatekeeper%'
    loop
        execute format('grant %s on table %s to %I', rights, place, who);
        execute format('drop policy if exists %I on %s', 'gatekeeper admits ' || who, place);
        execute format('create policy %I on %s to %I using (true) with check (true)', 'gatekeeper admits ' || who, place, who);
    end loop;
    if obj_description(to_regclass('public.system_health_summary'), 'pg_class') like 'Made by the gatekeeper%' then
        execute format('grant select on public.system_health_summary to %I', who);
    end if;
    execute format('drop policy if exists %I on gatekeeper.migrations', 'gatekeeper admits ' || who);
    execute format('create policy %I on gatekeeper.migrations for select to %I using (true)', 'gatekeeper admits ' || who, who);
end
$$;

do $$
declare
    made     regclass;
    holder   oid;
    admitted name;
    reader   name;
begin
    foreach made in array array['gatekeeper.call_durations', 'gatekeeper.action_stats']::regclass[] loop
        for holder in select distinct grantee from pg_class cross join aclexplode(relacl) where oid = made and grantee <> relowner loop
            execute format('revoke all on %s from %s', made, case holder when 0 then 'public' else quote_ident(pg_get_userbyid(holder)) end);
        end loop;
    end loop;
    for admitted in
        select rolname from pg_policy join pg_roles on pg_roles.oid = any (polroles)
        where polrelid = 'gatekeeper.keys'::regclass and polname::text like 'gatekeeper admits %'
    loop
        perform gatekeeper.admit(admitted);
    end loop;
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
