-- What operators change while gatekeepers run: flags, enforcement, blocks. Every change made here is heard of, and one made by hand is
-- audited by the database itself.

set local search_path = pg_catalog;
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

-- 1. Tables of our own.

-- One row for each gate, always: so that one UPDATE is an operator's switch. A mode of null is what the gatekeeper was started with.
create table gatekeeper.enforcement (
    gate       text primary key,
    mode       text check (mode in ('enforce', 'observe')),
    until      timestamptz check (until between '2000-01-01' and '9999-01-01'),
    afterwards text check (afterwards in ('enforce', 'observe')),
    reason     text,
    actor      text,
    changed_at timestamptz check (changed_at between '2000-01-01' and '9999-01-01'),
    constraint a_gate_there_is check (
        gate in ('authenticate', 'blocklist', 'source_limit', 'authorize', 'endpoint_limit', 'sql_filter', 'schema_check')
    )
);
insert into gatekeeper.enforcement (gate)
values ('authenticate'), ('blocklist'), ('source_limit'), ('authorize'), ('endpoint_limit'), ('sql_filter'), ('schema_check');

-- Those that have ended stay: they tell who was kept out, and when.
create table gatekeeper.blocks (
    id         uuid        primary key default gen_random_uuid(),
    kind       text        not null check (kind in ('network', 'source')),
    subject    text        not null,
    reason     text        not null default '',
    actor      text,
    created_at timestamptz not null default now() check (created_at between '2000-01-01' and '9999-01-01'),
    until      timestamptz check (until between '2000-01-01' and '9999-01-01'),
    changed_at timestamptz
);

alter table gatekeeper.enforcement enable row level security;
alter table gatekeeper.blocks enable row level security;

-- 2. Tables that other programs may have made already: these are adopted, with their rows and types, and lose nothing. What we make
-- ourselves is for nobody until gatekeeper.admit says so, whatever default privileges give away.

create function gatekeeper.close_to_all(made regclass) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    holder oid;
begin
    for holder in select distinct grantee from pg_class cross join aclexplode(relacl) where oid = made and grantee <> relowner loop
        execute format('revoke all on %s from %s', made, case holder when 0 then 'public' else quote_ident(pg_get_userbyid(holder)) end);
    end loop;
end
$$;

do $$
declare
    name text;
begin
    foreach name in array array['feature_flags', 'security_audit', 'security_events'] loop
        continue when to_regclass('public.' || name) is not null;
        execute case name
            when 'feature_flags' then
                'create table public.feature_flags (
                    name               text        primary key,
                    enabled            boolean     not null default true,
                    kill_switch        boolean     not null default false,
                    rollout_percentage integer     not null default 100 check (rollout_percentage between 0 and 100),
                    description        text,
                    changed_at         timestamptz,
                    changed_by         text,
                    created_at         timestamptz not null default now()
                )'
            when 'security_audit' then
                'create table public.security_audit (
                    id         uuid        primary key default gen_random_uuid(),
                    created_at timestamptz not null default now(),
                    actor      text        not null,
                    action     text        not null,
                    subject    text        not null,
                    reason     text,
                    before     jsonb,
                    after      jsonb
                )'
            when 'security_events' then
                'create table public.security_events (
                    id                uuid        primary key default gen_random_uuid(),
                    event_type        text        not null,
                    event_description text,
                    risk_score        integer     not null default 0,
                    metadata          jsonb       not null default ''{}'',
                    created_at        timestamptz not null default now()
                )'
        end;
        execute format('alter table public.%I enable row level security', name);
        perform gatekeeper.close_to_all(format('public.%I', name)::regclass);
    end loop;
end
$$;

-- A table is fit if it can be used as we will use it. What is tried here leaves nothing behind.
do $$
declare
    wrong   text[] := '{}';
    words   text := repeat('x', 500);
begin
    begin
        alter table public.feature_flags
            add column if not exists enabled boolean not null default true,
            add column if not exists kill_switch boolean not null default false,
            add column if not exists rollout_percentage integer not null default 100 check (rollout_percentage between 0 and 100),
            add column if not exists description text,
            add column if not exists changed_at timestamptz,
            add column if not exists changed_by text,
            add column if not exists created_at timestamptz;
        alter table public.feature_flags alter column created_at set default now();
        -- It is by its absence that a change by hand is told, so nothing may fill it in.
        alter table public.feature_flags alter column changed_at drop default;
        perform name::text, coalesce(enabled, true), coalesce(kill_switch, false), round(coalesce(rollout_percentage, 100))
        from public.feature_flags limit 1;
        update public.feature_flags set changed_at = clock_timestamp(), changed_by = words where false;
    exception when syntax_error_or_access_rule_violation or data_exception or integrity_constraint_violation then
        wrong := wrong || format('public.feature_flags (%s)', sqlerrm);
    end;

    begin
        alter table public.security_audit
            add column if not exists created_at timestamptz,
            add column if not exists actor text,
            add column if not exists action text,
            add column if not exists subject text,
            add column if not exists reason text,
            add column if not exists before jsonb,
            add column if not exists after jsonb;
        alter table public.security_audit alter column created_at set default now();
        create index if not exists security_audit_created_at on public.security_audit (created_at desc);
        begin
            insert into public.security_audit (id, created_at, actor, action, subject, reason, before, after)
            values (gen_random_uuid(), clock_timestamp(), words, words, words, null, null, '{}'::jsonb);
            raise exception using errcode = 'GK001';
        exception when sqlstate 'GK001' then
            null;
        end;
        perform from public.security_audit where id = gen_random_uuid() and created_at > clock_timestamp();
    exception when syntax_error_or_access_rule_violation or data_exception or integrity_constraint_violation or raise_exception then
        wrong := wrong || format('public.security_audit (%s)', sqlerrm);
    end;

    begin
        alter table public.security_events
            add column if not exists event_type text,
            add column if not exists event_description text,
            add column if not exists risk_score integer,
            add column if not exists metadata jsonb,
            add column if not exists created_at timestamptz;
        alter table public.security_events alter column created_at set default now();
        create index if not exists security_events_created_at on public.security_events (created_at desc);
        perform from public.security_events where created_at >= clock_timestamp() and risk_score > 70 limit 1;
    exception when syntax_error_or_access_rule_violation or data_exception or integrity_constraint_violation then
        wrong := wrong || format('public.security_events (%s)', sqlerrm);
    end;

    if wrong <> '{}' then
        raise exception 'tables in the way that the gatekeeper cannot adopt: %', array_to_string(wrong, '; ')
            using hint = 'Rename them, or give the gatekeeper a database of its own.';
    end if;
end
$$;

-- 3. Changes. What one is about are the columns that the triggers name: an adopted table may have others that change all the time.

create function gatekeeper.pick(given jsonb, names text[]) returns jsonb
    language sql immutable strict set search_path = pg_catalog, pg_temp
as $$
    select jsonb_object_agg(name, given -> name) from unnest(names) as name
$$;

-- Gatekeepers say when they changed a row. Who does not changed it by hand, and is noted with a moment later than any before it.
-- Arguments: the column for who it was, then those that matter.
create function gatekeeper.stamp() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    by_hand boolean;
    latest  timestamptz;
begin
    if tg_op = 'INSERT' then
        by_hand := new.changed_at is null;
    elsif gatekeeper.pick(to_jsonb(new), tg_argv[1:]) = gatekeeper.pick(to_jsonb(old), tg_argv[1:]) then
        return new;
    else
        by_hand := new.changed_at is not distinct from old.changed_at;
        latest := old.changed_at;
    end if;
    -- For the audit, which comes when the row is written and can no longer tell.
    perform set_config('gatekeeper.by_hand', by_hand::text, true);
    if by_hand then
        new := jsonb_populate_record(new, jsonb_build_object(
            tg_argv[0], session_user,
            'changed_at', greatest(clock_timestamp(), latest + interval '1 microsecond')
        ));
    end if;
    return new;
end
$$;

-- Whoever names a mode by hand makes a new ruling: an end, a sequel and a reason that were not given with it are those of an earlier one.
create function gatekeeper.rule_anew() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.changed_at is distinct from old.changed_at
        or (new.mode, new.until, new.afterwards) is not distinct from (old.mode, old.until, old.afterwards)
        and coalesce(old.until > clock_timestamp(), true)
    then
        return new;
    end if;
    if new.until is not distinct from old.until then
        new.until := null;
    end if;
    if new.until is null then
        new.afterwards := null;
    elsif new.afterwards is not distinct from old.afterwards then
        -- What would hold by then without it. Of two that might, denials stand.
        new.afterwards := case
            when old.until is null then old.mode
            when old.until <= new.until then old.afterwards
            when 'enforce' in (old.mode, old.afterwards) then 'enforce'
            else old.afterwards
        end;
    end if;
    if new.reason is not distinct from old.reason then
        new.reason := null;
    end if;
    return new;
end
$$;

-- The functions below run as their owner: whoever may change a flag needs no right on the audit or on signals.
-- Arguments: what the change is called, then the columns that matter, the first of which says what was changed.
create function gatekeeper.audit_by_hand() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC'
as $$
declare
    was    jsonb;
    became jsonb;
begin
    if tg_op in ('UPDATE', 'DELETE') then
        was := gatekeeper.pick(to_jsonb(old), tg_argv[1:]);
    elsif tg_op = 'TRUNCATE' then
        execute format('select jsonb_agg(gatekeeper.pick(to_jsonb(t), $1)) from %s t', tg_relid::regclass) into was using tg_argv[1:];
        if was is null then
            return null;
        end if;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        became := gatekeeper.pick(to_jsonb(new), tg_argv[1:]);
        if became is not distinct from was or current_setting('gatekeeper.by_hand', true) is distinct from 'true' then
            return null;
        end if;
    end if;
    -- An emergency switch must work, even where the audit does not.
    begin
        insert into public.security_audit (id, created_at, actor, action, subject, reason, before, after)
        values (gen_random_uuid(), clock_timestamp(), session_user, tg_argv[0],
                coalesce(became ->> tg_argv[1], was ->> tg_argv[1], format('all of %s', tg_table_name)), became ->> 'reason', was, became);
    exception when others then
        raise warning 'a change of % is not in the audit: %', tg_table_name, sqlerrm;
    end;
    return null;
end
$$;

-- Arguments: the kind of signal, then the columns that matter.
create function gatekeeper.signal_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    is_news boolean := true;
begin
    if tg_op = 'INSERT' then
        is_news := exists (select from came);
    elsif tg_op = 'DELETE' then
        is_news := exists (select from gone);
    elsif tg_op = 'UPDATE' then
        is_news := exists (
            select gatekeeper.pick(to_jsonb(o), tg_argv[1:]) from gone o
            except all
            select gatekeeper.pick(to_jsonb(n), tg_argv[1:]) from came n
        );
    end if;
    if is_news then
        insert into gatekeeper.signals (kind) values (tg_argv[0]);
    end if;
    return null;
end
$$;

-- A flag that is on for everybody is no news when it comes: it switches nothing off.
create function gatekeeper.signal_new_flags() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from came
        where not coalesce(enabled, true) or coalesce(kill_switch, false) or coalesce(rollout_percentage, 100) < 100
    ) then
        insert into gatekeeper.signals (kind) values ('flags_changed');
    end if;
    return null;
end
$$;

create function gatekeeper.keep_every_gate() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'every gate keeps its row'
        using hint = 'To have a gate as the gatekeeper was started: update gatekeeper.enforcement set mode = null where gate = …';
end
$$;

create trigger gatekeeper_stamp before insert or update on public.feature_flags
    for each row execute function gatekeeper.stamp('changed_by', 'name', 'enabled', 'kill_switch', 'rollout_percentage');
create trigger gatekeeper_audit after insert or update or delete on public.feature_flags
    for each row execute function
    gatekeeper.audit_by_hand('flag_changed_by_hand', 'name', 'enabled', 'kill_switch', 'rollout_percentage');
create trigger gatekeeper_audit_all before truncate on public.feature_flags
    for each statement execute function
    gatekeeper.audit_by_hand('flag_changed_by_hand', 'name', 'enabled', 'kill_switch', 'rollout_percentage');
create trigger gatekeeper_inserted after insert on public.feature_flags
    referencing new table as came for each statement execute function gatekeeper.signal_new_flags();
create trigger gatekeeper_updated after update on public.feature_flags
    referencing old table as gone new table as came for each statement execute function
    gatekeeper.signal_change('flags_changed', 'name', 'enabled', 'kill_switch', 'rollout_percentage');
create trigger gatekeeper_deleted after delete on public.feature_flags
    referencing old table as gone for each statement execute function gatekeeper.signal_change('flags_changed');
create trigger gatekeeper_truncated after truncate on public.feature_flags
    for each statement execute function gatekeeper.signal_change('flags_changed');

-- Triggers of one kind fire in the order of their names: what a ruling is comes before who made it.
create trigger enforcement_ruled before update of mode on gatekeeper.enforcement
    for each row execute function gatekeeper.rule_anew();
create trigger enforcement_stamp before insert or update on gatekeeper.enforcement
    for each row execute function gatekeeper.stamp('actor', 'gate', 'mode', 'until', 'afterwards', 'reason');
create trigger enforcement_audit after insert or update on gatekeeper.enforcement
    for each row execute function
    gatekeeper.audit_by_hand('enforcement_changed_by_hand', 'gate', 'mode', 'until', 'afterwards', 'reason');
create trigger enforcement_updated after update on gatekeeper.enforcement
    referencing old table as gone new table as came for each statement execute function
    gatekeeper.signal_change('enforcement_changed', 'gate', 'mode', 'until', 'afterwards', 'reason', 'actor', 'changed_at');
create trigger enforcement_inserted after insert on gatekeeper.enforcement
    referencing new table as came for each statement execute function gatekeeper.signal_change('enforcement_changed');
create trigger enforcement_kept before delete on gatekeeper.enforcement
    for each row execute function gatekeeper.keep_every_gate();
create trigger enforcement_kept_whole before truncate on gatekeeper.enforcement
    for each statement execute function gatekeeper.keep_every_gate();

create trigger blocks_stamp before insert or update on gatekeeper.blocks
    for each row execute function gatekeeper.stamp('actor', 'id', 'kind', 'subject', 'reason', 'until');
create trigger blocks_audit after insert or update or delete on gatekeeper.blocks
    for each row execute function gatekeeper.audit_by_hand('block_changed_by_hand', 'subject', 'id', 'kind', 'reason', 'until');
create trigger blocks_audit_all before truncate on gatekeeper.blocks
    for each statement execute function gatekeeper.audit_by_hand('block_changed_by_hand', 'subject', 'id', 'kind', 'reason', 'until');
create trigger blocks_inserted after insert on gatekeeper.blocks
    referencing new table as came for each statement execute function gatekeeper.signal_change('blocks_changed');
create trigger blocks_updated after update on gatekeeper.blocks
    referencing old table as gone new table as came for each statement execute function
    gatekeeper.signal_change('blocks_changed', 'id', 'kind', 'subject', 'reason', 'until');
create trigger blocks_deleted after delete on gatekeeper.blocks
    referencing old table as gone for each statement execute function gatekeeper.signal_change('blocks_changed');
create trigger blocks_truncated after truncate on gatekeeper.blocks
    for each statement execute function gatekeeper.signal_change('blocks_changed');

-- Whoever listens need not wait for the next poll. What is lost on the way is found by polling.
create function gatekeeper.tell_of_signals() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from came) then
        perform pg_notify('gatekeeper_signals', '');
    end if;
    return null;
end
$$;
create trigger signals_told after insert on gatekeeper.signals
    referencing new table as came for each statement execute function gatekeeper.tell_of_signals();

-- 4. The activity log also holds what people must look at. An adopted one that allows certain words allows these too from now on.

do $$
declare
    words  record;
    rule   record;
    allows boolean;
    place  regclass;
begin
    for words in
        select * from (values
            ('activity_type',
             array['gatekeeper_call', 'gatekeeper_denied', 'schema_protection', 'gatekeeper_error', 'manual_bypass', 'auto_fix']),
            ('status', array['completed', 'error', 'blocked', 'open', 'reviewed', 'triggered', 'succeeded', 'failed'])
        ) as ours (field, used)
    loop
        for rule in
            select conname, pg_get_expr(conbin, conrelid) as condition
            from pg_constraint join pg_attribute on attrelid = conrelid and conkey = array[attnum]
            where conrelid = 'public.eliza_activity_log'::regclass and contype = 'c' and attname = words.field
        loop
            execute format('select bool_and((%s) is not false) from unnest($1) as given (%I)', rule.condition, words.field)
                into allows using words.used;
            continue when allows;
            execute format('alter table public.eliza_activity_log drop constraint %I', rule.conname);
            for place in select inhrelid from pg_inherits where inhparent = 'public.eliza_activity_log'::regclass loop
                execute format('alter table %s drop constraint if exists %I', place, rule.conname);
            end loop;
            -- Not valid, because what is there was allowed before: reading it again would keep writers waiting.
            execute format('alter table public.eliza_activity_log add constraint %I check (%s or %I = any (%L::text[])) not valid',
                           rule.conname, rule.condition, words.field, words.used);
        end loop;
    end loop;
end
$$;

-- 5. What the runbook asks about and other programs keep. Where they have not made their tables, empty ones stand in.

do $$
declare
    name text;
begin
    foreach name in array array['conversation_sessions', 'conversation_messages', 'memory_contexts'] loop
        continue when to_regclass('public.' || name) is not null;
        execute format('create table public.%I (id uuid primary key default gen_random_uuid(), %s)', name, case name
            when 'conversation_sessions' then
                'is_active boolean not null default true, created_at timestamptz not null default now(), '
                'updated_at timestamptz not null default now()'
            when 'conversation_messages' then
                'session_id uuid, role text, content text, "timestamp" timestamptz not null default now()'
            when 'memory_contexts' then
                'session_id uuid, content text, created_at timestamptz not null default now()'
        end);
        execute format('comment on table public.%I is %L', name,
                       'Made by the gatekeeper, because the runbook asks about it. Drop it to make the application''s own.');
        execute format('alter table public.%I enable row level security', name);
        perform gatekeeper.close_to_all(format('public.%I', name)::regclass);
    end loop;
end
$$;

-- The answer to a question about a table that may be absent, closed to who asks, or of another shape: then there is none.
create function gatekeeper.answer(question text) returns bigint
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    answer bigint;
begin
    execute question into answer;
    return answer;
exception when others then
    return null;
end
$$;

do $$
begin
    if to_regclass('public.system_health_summary') is not null then
        return;
    end if;
    create view public.system_health_summary as
    select gatekeeper.answer($q$
               select count(*) from public.frontend_health_checks where status = 'online' and check_timestamp > now() - interval '1 hour'
           $q$) as frontend_uptime_checks,
           -- A denial is no error of the function that was not called.
           (select count(*)
            from public.api_call_logs as call
            where created_at > now() - interval '1 hour' and status in ('error', 'timeout')
              and not exists (
                  select from public.eliza_activity_log as entry
                  where entry.id = call.id and entry.created_at = call.created_at
                    and activity_type in ('gatekeeper_denied', 'schema_protection')
              )) as recent_function_errors,
           gatekeeper.answer($q$
               select count(*) from public.conversation_messages where "timestamp" > now() - interval '1 hour'
           $q$) as messages_last_hour,
           gatekeeper.answer('select count(*) from public.conversation_sessions where is_active') as active_sessions,
           pg_size_pretty(pg_database_size(current_database())) as database_size,
           now() as checked_at;
    comment on view public.system_health_summary is 'Made by the gatekeeper, because the runbook asks about it.';
    if current_setting('server_version_num')::integer >= 150000 then
        alter view public.system_health_summary set (security_invoker = true);
    end if;
    perform gatekeeper.close_to_all('public.system_health_summary');
end
$$;

-- 6. Who may see and change what.

create or replace function gatekeeper.admit(who name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    place  text;
    rights text;
begin
    execute format('grant usage on schema public, gatekeeper to %I', who);
    execute format('grant select on public.eliza_gatekeeper_stats, gatekeeper.migrations to %I', who);
    execute format(
        'grant execute on function gatekeeper.partitions, gatekeeper.make_partitions, gatekeeper.drop_partitions, '
        'gatekeeper.delete_old_rows, gatekeeper.answer to %I', who
    );
    foreach place in array array[
        'public.eliza_activity_log', 'public.api_call_logs', 'public.rate_limits',
        'gatekeeper.call_stats', 'gatekeeper.keys', 'gatekeeper.signals', 'gatekeeper.enforcement', 'gatekeeper.blocks'
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
    stranger text;
    holder   name;
    admitted name;
begin
    for stranger in
        select 'public' union all select quote_ident(rolname) from pg_roles where rolname in ('anon', 'authenticated')
    loop
        execute format('revoke all on gatekeeper.enforcement, gatekeeper.blocks from %s', stranger);
        execute format('revoke all on all functions in schema gatekeeper from %s', stranger);
    end loop;
    -- The audit is written with its owner's rights: whoever may hang a trigger on it could borrow them.
    for holder in
        select distinct rolname from pg_class cross join aclexplode(relacl) join pg_roles on pg_roles.oid = grantee
        where pg_class.oid = 'public.security_audit'::regclass and grantee <> relowner and privilege_type in ('TRIGGER', 'REFERENCES')
    loop
        execute format('revoke trigger, references on public.security_audit from %I', holder);
    end loop;
    for admitted in
        select rolname from pg_policy join pg_roles on pg_roles.oid = any (polroles)
        where polrelid = 'gatekeeper.keys'::regclass and polname::text like 'gatekeeper admits %'
    loop
        perform gatekeeper.admit(admitted);
    end loop;
end
$$;

drop function gatekeeper.close_to_all(regclass);
