-- The tables clients query, made new or adopted from the original gatekeeper with their data. Both go one way: a plain table
-- is there (the original's, or an empty one made now), and it is turned into a partitioned one whose oldest partition it is.
-- All in one transaction: either everything below holds, or the database is as it was.

-- Definitions are read back from the catalogue below: with nothing else in the path, every name in them comes qualified.
set local search_path = pg_catalog;
set local timezone = 'UTC';
set local client_min_messages = warning;
-- Building indexes may take longer than a server lets ordinary statements take; waiting for others' locks may not.
set local statement_timeout = 0;
set local lock_timeout = '10s';

create table if not exists public.eliza_activity_log (
    id                uuid        primary key default gen_random_uuid(),
    activity_type     text        not null,
    title             text        not null,
    description       text,
    metadata          jsonb       default '{}',
    status            text        not null default 'completed',
    mentioned_to_user boolean     default false,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz default now()
);

create table if not exists public.api_call_logs (
    id                uuid        primary key default gen_random_uuid(),
    function_name     text        not null,
    called_at         timestamptz not null default now(),
    execution_time_ms integer,
    status            text        not null default 'pending',
    error_message     text,
    request_payload   jsonb,
    response_data     jsonb,
    caller_context    jsonb,
    created_at        timestamptz not null default now(),
    constraint api_call_logs_status_check check (status in ('success', 'error', 'timeout', 'pending'))
);

create table if not exists public.rate_limits (
    id            uuid        primary key default gen_random_uuid(),
    identifier    text        not null,
    endpoint      text        not null,
    request_count integer     not null default 1,
    window_start  timestamptz not null default now(),
    created_at    timestamptz not null default now(),
    constraint rate_limits_identifier_endpoint_window_start_key unique (identifier, endpoint, window_start)
);

-- 1. Is what we found the original's? Something else of the same name is not ours to touch.

do $$
declare
    wrong text;
begin
    select string_agg(format('%s is not a plain table', name), '; ') into wrong
    from (values ('public.eliza_activity_log'), ('public.api_call_logs'), ('public.rate_limits')) as ours (name)
    join pg_class on oid = name::regclass
    where relkind <> 'r' or relispartition or exists (select from pg_inherits where oid in (inhrelid, inhparent));

    select concat_ws('; ', wrong, string_agg(format('%s.%s should be there as %s', name, field, kind), '; ')) into wrong
    from (values
        ('public.eliza_activity_log', 'id', 'uuid'), ('public.eliza_activity_log', 'activity_type', 'text'),
        ('public.eliza_activity_log', 'title', 'text'), ('public.eliza_activity_log', 'description', 'text'),
        ('public.eliza_activity_log', 'metadata', 'jsonb'), ('public.eliza_activity_log', 'status', 'text'),
        ('public.eliza_activity_log', 'created_at', 'timestamp with time zone'),
        ('public.api_call_logs', 'id', 'uuid'), ('public.api_call_logs', 'function_name', 'text'),
        ('public.api_call_logs', 'execution_time_ms', 'integer'), ('public.api_call_logs', 'status', 'text'),
        ('public.rate_limits', 'identifier', 'text'), ('public.rate_limits', 'endpoint', 'text'),
        ('public.rate_limits', 'request_count', 'integer'), ('public.rate_limits', 'window_start', 'timestamp with time zone')
    ) as needed (name, field, kind)
    where not exists (
        select from pg_attribute
        where attrelid = name::regclass and attname = field and not attisdropped and format_type(atttypid, atttypmod) = kind
    )
    having count(*) > 0 or wrong is not null;

    select concat_ws('; ', wrong, string_agg(format('%s depends on %s', pg_describe_object(classid, objid, objsubid), name), '; '))
    into wrong
    from (values ('public.eliza_activity_log'), ('public.api_call_logs')) as ours (name)
    join pg_depend on refclassid = 'pg_class'::regclass and refobjid = name::regclass and deptype = 'n'
    where (classid = 'pg_constraint'::regclass and not exists (select from pg_constraint c where c.oid = objid and c.conrelid = refobjid))
       or (classid = 'pg_policy'::regclass and not exists (select from pg_policy p where p.oid = objid and p.polrelid = refobjid))
       or classid = 'pg_proc'::regclass
    having count(*) > 0 or wrong is not null;

    if wrong is not null then
        raise exception 'tables in the way that the gatekeeper cannot adopt: %', wrong
            using hint = 'Rename them or remove what depends on them, or give the gatekeeper a database of its own.';
    end if;
end
$$;

lock table public.eliza_activity_log, public.api_call_logs, public.rate_limits in access exclusive mode;

-- 2. Views on the log tables hold on to the table itself, not to its name. They are set aside and put back at the end.

create table gatekeeper.set_aside as
with recursive reached (view, depth) as (
    select to_regclass('public.eliza_gatekeeper_stats')::oid, 1 where to_regclass('public.eliza_gatekeeper_stats') is not null
    union
    select ev_class, 1
    from pg_depend join pg_rewrite on pg_rewrite.oid = objid
    where classid = 'pg_rewrite'::regclass and refclassid = 'pg_class'::regclass
      and refobjid in ('public.eliza_activity_log'::regclass, 'public.api_call_logs'::regclass) and ev_class <> refobjid
    union
    select ev_class, depth + 1
    from reached
    join pg_depend on classid = 'pg_rewrite'::regclass and refclassid = 'pg_class'::regclass and refobjid = view
    join pg_rewrite on pg_rewrite.oid = objid and ev_class <> view
)
select view, max(depth) as depth, relkind as kind, format('%I.%I', nspname, relname) as name,
       pg_get_viewdef(view) as definition, reloptions as options, pg_get_userbyid(relowner) as owner,
       relacl as acl, obj_description(view, 'pg_class') as comment,
       array(select pg_get_indexdef(indexrelid) from pg_index where indrelid = view) as indexes
from reached
join pg_class on pg_class.oid = view
join pg_namespace on pg_namespace.oid = relnamespace
group by view, relkind, nspname, relname, reloptions, relowner, relacl;

create function gatekeeper.put_grants(target regclass, acl aclitem[]) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    held record;
begin
    -- Default privileges may have given the new object to anyone.
    for held in
        select distinct grantee from pg_class, aclexplode(relacl) where oid = target and grantee <> relowner
    loop
        execute format('revoke all on %s from %s', target,
            case held.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(held.grantee)) end);
    end loop;
    for held in
        select grantee, privilege_type, is_grantable from aclexplode(acl)
        where grantee <> (select relowner from pg_class where oid = target)
    loop
        execute format('grant %s on %s to %s%s', held.privilege_type, target,
            case held.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(held.grantee)) end,
            case when held.is_grantable then ' with grant option' else '' end);
    end loop;
end
$$;

do $$
declare
    aside record;
begin
    for aside in select * from gatekeeper.set_aside order by depth desc loop
        execute format('drop %s %s', case aside.kind when 'm' then 'materialized view' else 'view' end, aside.name);
    end loop;
end
$$;

-- 3. Whatever its age, each table gets the columns and defaults of today. (mentioned_to_user and updated_at are newer than the
-- oldest logs: rows from before have no updated_at.)

alter table public.eliza_activity_log
    add column if not exists mentioned_to_user boolean default false,
    add column if not exists updated_at timestamptz;
update public.eliza_activity_log set created_at = now() where created_at is null;
update public.eliza_activity_log set id = gen_random_uuid() where id is null;
alter table public.eliza_activity_log
    alter column id set not null,
    alter column id set default gen_random_uuid(),
    alter column metadata set default '{}',
    alter column status set default 'completed',
    alter column mentioned_to_user set default false,
    alter column created_at set not null,
    alter column created_at set default now(),
    alter column updated_at set default now();

alter table public.api_call_logs
    add column if not exists called_at timestamptz,
    add column if not exists error_message text,
    add column if not exists request_payload jsonb,
    add column if not exists response_data jsonb,
    add column if not exists caller_context jsonb,
    add column if not exists created_at timestamptz;
update public.api_call_logs set created_at = coalesce(created_at, called_at, now()), called_at = coalesce(called_at, created_at, now())
where created_at is null or called_at is null;
update public.api_call_logs set id = gen_random_uuid() where id is null;
alter table public.api_call_logs
    alter column id set not null,
    alter column id set default gen_random_uuid(),
    alter column called_at set not null,
    alter column called_at set default now(),
    alter column created_at set not null,
    alter column created_at set default now();

-- 4. What the original logged becomes the beginning of the stats. Only the service role could call without a source.

insert into gatekeeper.call_stats (hour, source, target, successful, failed, duration_ms_sum, first_call_at, last_call_at)
select date_trunc('hour', created_at),
       coalesce(metadata ->> 'source', 'service_role'),
       coalesce(metadata ->> 'target', ''),
       count(*) filter (where coalesce(metadata ->> 'success', (status = 'completed')::text) = 'true'),
       count(*) filter (where coalesce(metadata ->> 'success', (status = 'completed')::text, '') <> 'true'),
       coalesce(sum(case when metadata ->> 'execution_time_ms' ~ '^\d{1,9}(\.\d+)?$'
                         then round((metadata ->> 'execution_time_ms')::numeric) end), 0)::bigint,
       min(created_at),
       max(created_at)
from public.eliza_activity_log
where activity_type = 'gatekeeper_call'
group by 1, 2, 3;

create view public.eliza_gatekeeper_stats as
select source,
       target,
       sum(successful + failed + denied)::bigint as total_calls,
       sum(successful)::bigint as successful_calls,
       sum(failed)::bigint as failed_calls,
       -- Over the calls that were let through: a refusal takes no time worth knowing.
       round(sum(duration_ms_sum) / nullif(sum(successful + failed), 0), 2) as avg_duration_ms,
       max(last_call_at) as last_call_at,
       sum(denied)::bigint as denied_calls,
       min(first_call_at) as first_call_at
from gatekeeper.call_stats
group by source, target;

do $$
begin
    if current_setting('server_version_num')::integer >= 150000 then
        alter view public.eliza_gatekeeper_stats set (security_invoker = true);
    end if;
end
$$;

-- 5. The log tables, a partition a day. What lies before today stays in the table it is in, which becomes the first partition.

-- That everybody may read is what adoption puts an end to. Roles that operators gave rights of their own keep them: a policy that was
-- for everybody is henceforth for these, and where there was no row security they go on as if there were none.
create function gatekeeper.kept_policies(log regclass) returns text[]
    language sql stable set search_path = pg_catalog, pg_temp
as $$
    with granted as (
        select string_agg(distinct quote_ident(rolname), ', ') as roles
        from pg_class cross join aclexplode(relacl) join pg_roles on pg_roles.oid = grantee
        where pg_class.oid = log and grantee <> relowner and rolname not in ('anon', 'authenticated', 'service_role')
    ), policies as (
        select pg_policy.*, case when 0 = any (polroles) then granted.roles else (
                   select string_agg(quote_ident(rolname), ', ') from pg_roles
                   where pg_roles.oid = any (polroles) and rolname not in ('anon', 'authenticated')
               ) end as roles
        from pg_policy cross join granted
        where polrelid = log
    )
    select array(
        select format('create policy %I on %s as %s for %s to %s%s%s', polname, log,
                      case when polpermissive then 'permissive' else 'restrictive' end,
                      case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
                      roles,
                      ' using (' || pg_get_expr(polqual, polrelid) || ')',
                      ' with check (' || pg_get_expr(polwithcheck, polrelid) || ')')
        from policies
        where roles is not null
        union all
        select format('create policy "granted before adoption" on %s to %s using (true) with check (true)', log, roles)
        from granted cross join pg_class
        where pg_class.oid = log and not relrowsecurity and roles is not null
    )
$$;

create function gatekeeper.partition_by_day(log name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC'
as $$
declare
    old         regclass := format('public.%I', log)::regclass;
    today       timestamptz := date_trunc('day', now());
    history     text := log || '_history';
    columns     text := (
        select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
        where attrelid = old and attnum > 0 and not attisdropped and attgenerated = ''
    );
    owner       name := (select pg_get_userbyid(relowner) from pg_class where oid = old);
    grants      aclitem[] := (select relacl from pg_class where oid = old);
    description text := obj_description(old, 'pg_class');
    policies    text[] := gatekeeper.kept_policies(old);
    triggers    text[] := array(
        select pg_get_triggerdef(oid) from pg_trigger where tgrelid = old and not tgisinternal and tgenabled <> 'D'
    );
    publications name[] := array(
        select pubname from pg_publication join pg_publication_rel on prpubid = pg_publication.oid where prrelid = old
    );
    publication name;
    statement   text;
    dropping    record;
    has_rows    boolean;
begin
    -- Out of the way, and freed of what its successor carries from now on.
    for dropping in select tgname from pg_trigger where tgrelid = old and not tgisinternal loop
        execute format('drop trigger %I on public.%I', dropping.tgname, log);
    end loop;
    for dropping in select polname from pg_policy where polrelid = old loop
        execute format('drop policy %I on public.%I', dropping.polname, log);
    end loop;
    for dropping in select conname from pg_constraint where conrelid = old and contype = 'p' loop
        execute format('alter table public.%I drop constraint %I', log, dropping.conname);
    end loop;
    -- A published table without a key must say how its rows are told apart, or nothing can be deleted from it.
    execute format('alter table public.%I replica identity full', log);
    execute format('alter table public.%I set schema gatekeeper', log);
    execute format('alter table gatekeeper.%I rename to %I', log, history);

    execute format(
        'create table public.%I (like gatekeeper.%I including defaults including constraints including generated '
        'including storage including comments, primary key (id, created_at)) partition by range (created_at)', log, history
    );
    execute format('create table gatekeeper.%I partition of public.%I default', log || '_default', log);
    execute format('alter table gatekeeper.%I enable row level security', log || '_default');
    execute format('alter table gatekeeper.%I enable row level security', history);
    execute format(
        'with moved as (delete from gatekeeper.%1$I where created_at >= %2$L returning %4$s) insert into public.%3$I (%4$s) select %4$s from moved',
        history, today, log, columns
    );
    -- Before the old table is attached, so that an index of its own that fits is taken over and not built again.
    execute format('create index on public.%I (created_at desc)', log);
    if log = 'eliza_activity_log' then
        create index on public.eliza_activity_log (activity_type, created_at);
    end if;
    execute format('alter table public.%I attach partition gatekeeper.%I for values from (minvalue) to (%L)', log, history, today);
    execute format('alter table gatekeeper.%I replica identity default', history);

    foreach statement in array policies || triggers loop
        execute statement;
    end loop;
    perform gatekeeper.put_grants(format('public.%I', log)::regclass, grants);
    if description is not null then
        execute format('comment on table public.%I is %L', log, description);
    end if;
    foreach publication in array publications loop
        begin
            execute format('alter publication %I drop table gatekeeper.%I', publication, history);
            execute format('alter publication %I add table public.%I', publication, log);
        exception when insufficient_privilege then
            raise warning 'publication % still names gatekeeper.%: its owner must replace it by public.%', publication, history, log;
        end;
    end loop;
    if owner <> current_user then
        execute format('alter table public.%I owner to %I', log, owner);
    end if;

    -- A table that holds nothing is no history. If something depends on it all the same, an empty partition does no harm.
    execute format('select exists (select from gatekeeper.%I)', history) into has_rows;
    if not has_rows then
        begin
            execute format('drop table gatekeeper.%I', history);
        exception when dependent_objects_still_exist then
            null;
        end;
    end if;
end
$$;

select gatekeeper.partition_by_day('eliza_activity_log');
select gatekeeper.partition_by_day('api_call_logs');
select gatekeeper.make_partitions(current_date, 7);

-- 6. rate_limits: one row per source, endpoint and clock minute. The original wrote a row per call, each at its own instant.

alter table public.rate_limits
    add column if not exists id uuid default gen_random_uuid(),
    add column if not exists created_at timestamptz default now();
delete from public.rate_limits where identifier is null or endpoint is null or window_start is null;

with loose as (
    delete from public.rate_limits
    returning identifier, endpoint, date_trunc('minute', window_start) as minute, request_count, created_at
)
insert into public.rate_limits (identifier, endpoint, request_count, window_start, created_at, id)
select identifier, endpoint, least(sum(coalesce(request_count, 1)), 2147483647), minute, coalesce(min(created_at), minute),
       gen_random_uuid()
from loose
group by identifier, endpoint, minute;

alter table public.rate_limits
    alter column id set not null,
    alter column id set default gen_random_uuid(),
    alter column identifier set not null,
    alter column endpoint set not null,
    alter column request_count set not null,
    alter column request_count set default 1,
    alter column window_start set not null,
    alter column window_start set default now(),
    alter column created_at set default now();

do $$
begin
    if not exists (
        select from pg_index
        where indrelid = 'public.rate_limits'::regclass and indisunique and indpred is null and indexprs is null
          and array(select attname from pg_attribute where attrelid = indrelid and attnum = any (indkey) order by attname)
              = array['endpoint', 'identifier', 'window_start']::name[]
    ) then
        alter table public.rate_limits add unique (identifier, endpoint, window_start);
    end if;
end
$$;
create index on public.rate_limits (window_start);

create trigger gatekeeper_counts_deleted after delete on public.rate_limits
    referencing old table as gone for each statement execute function gatekeeper.on_counts_deleted();
create trigger gatekeeper_counts_truncated after truncate on public.rate_limits
    for each statement execute function gatekeeper.on_counts_truncated();

-- 7. The views go back to their places, the stats' own old definition excepted.

do $$
declare
    aside record;
    sort  text;
    index text;
begin
    for aside in select * from gatekeeper.set_aside order by depth loop
        if aside.name <> 'public.eliza_gatekeeper_stats' then
            sort := case aside.kind when 'm' then 'materialized view' else 'view' end;
            execute format('create %s %s %s as %s', sort, aside.name, 'with (' || array_to_string(aside.options, ', ') || ')',
                           aside.definition);
            foreach index in array aside.indexes loop
                execute index;
            end loop;
            if aside.owner <> current_user then
                execute format('alter %s %s owner to %I', sort, aside.name, aside.owner);
            end if;
            if aside.comment is not null then
                execute format('comment on %s %s is %L', sort, aside.name, aside.comment);
            end if;
        end if;
        perform gatekeeper.put_grants(aside.name::regclass, aside.acl);
    end loop;
end
$$;

-- 8. Who may see what: the owner, whom gatekeeper.admit names, and roles that operators gave rights of their own. What all the
-- world could see of the logs, it sees no more.

do $$
declare
    kept    text[] := gatekeeper.kept_policies('public.rate_limits');
    dropped name;
    policy  text;
begin
    for dropped in select polname from pg_policy where polrelid = 'public.rate_limits'::regclass loop
        execute format('drop policy %I on public.rate_limits', dropped);
    end loop;
    foreach policy in array kept loop
        execute policy;
    end loop;
end
$$;

alter table public.eliza_activity_log enable row level security;
alter table public.api_call_logs enable row level security;
alter table public.rate_limits enable row level security;

do $$
declare
    stranger text;
    reader   name;
    aside    text;
    holder   record;
begin
    for stranger in
        select 'public' union all select quote_ident(rolname) from pg_roles where rolname in ('anon', 'authenticated')
    loop
        execute format(
            'revoke all on public.eliza_activity_log, public.api_call_logs, public.rate_limits, public.eliza_gatekeeper_stats from %s',
            stranger
        );
        -- A view shows what its owner may see: those on the logs are closed to the world with them.
        for aside in select name from gatekeeper.set_aside loop
            execute format('revoke all on %s from %s', aside, stranger);
        end loop;
        execute format('revoke all on all tables in schema gatekeeper from %s', stranger);
        execute format('revoke all on all functions in schema gatekeeper from %s', stranger);
    end loop;
    -- Whoever may hang a trigger on a table can have it run with its owner's rights, when the owner's routines keep house.
    for holder in
        select distinct pg_class.oid::regclass as log, rolname
        from pg_class cross join aclexplode(relacl) join pg_roles on pg_roles.oid = grantee
        where pg_class.oid in ('public.eliza_activity_log'::regclass, 'public.api_call_logs'::regclass, 'public.rate_limits'::regclass)
          and grantee <> relowner and privilege_type in ('TRIGGER', 'REFERENCES')
    loop
        execute format('revoke trigger, references on %s from %I', holder.log, holder.rolname);
    end loop;
    if exists (select from pg_roles where rolname = 'service_role') then
        perform gatekeeper.admit('service_role');
    end if;
    -- The stats view asks for its reader's own right to what it sums up.
    for reader in
        select distinct rolname
        from pg_class cross join aclexplode(relacl) join pg_roles on pg_roles.oid = grantee
        where pg_class.oid = 'public.eliza_gatekeeper_stats'::regclass and grantee <> relowner and privilege_type = 'SELECT'
          and rolname <> 'service_role'
    loop
        execute format('grant usage on schema gatekeeper to %I', reader);
        execute format('grant select on gatekeeper.call_stats to %I', reader);
        execute format('create policy %I on gatekeeper.call_stats for select to %I using (true)', 'stats for ' || reader, reader);
    end loop;
end
$$;

drop table gatekeeper.set_aside;
drop function gatekeeper.put_grants(regclass, aclitem[]);
drop function gatekeeper.partition_by_day(name);
drop function gatekeeper.kept_policies(regclass);
