-- Whoever is admitted may keep the ledger, the audit log, the archives and the statistics as well. In a file of its own, for policies keep
-- everybody out of the logs until they are committed.

set local search_path = pg_catalog;
set local client_min_messages = warning;
set local lock_timeout = '10s';

create or replace function gatekeeper.admit(who name) returns void
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
    -- What is sealed is added to and nothing else.
    execute format('revoke all on table gatekeeper.audit_log from %I', who);
    execute format('grant select, insert on table gatekeeper.audit_log to %I', who);
    execute format('drop policy if exists %I on gatekeeper.audit_log', 'gatekeeper admits ' || who);
    execute format('create policy %I on gatekeeper.audit_log to %I using (true) with check (true)', 'gatekeeper admits ' || who, who);
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
    admitted name;
begin
    for admitted in
        select rolname from pg_policy join pg_roles on pg_roles.oid = any (polroles)
        where polrelid = 'gatekeeper.keys'::regclass and polname::text like 'gatekeeper admits %'
    loop
        perform gatekeeper.admit(admitted);
    end loop;
end
$$;
