-- Letting go of old rows without anybody waiting for it: days of the logs move to an archive beside them as a whole, and are dropped as a
-- whole. Every step is one transaction, none waits for a lock for more than a tenth of a second, because all writers queue up behind it; and
-- what reads a day or builds indexes is a step before the one that keeps everybody out.
-- (DETACH … CONCURRENTLY is not for tables that have a default partition, and these must: no row may be refused for its date.)

set local search_path = pg_catalog;
set local timezone = 'UTC';
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

-- 1. The archives: what the logs are, but for rules about new rows. Their partitions are the days that were the logs'.

do $$
declare
    there text;
begin
    select string_agg(place::text, ', ') into there
    from unnest(array[to_regclass('public.eliza_activity_log_archive'), to_regclass('public.api_call_logs_archive')]) as place
    where place is not null;
    if there is not null then
        raise exception 'tables in the way of the archives that the gatekeeper keeps by the day: %; rename them, it then makes its own', there;
    end if;
end
$$;

create table public.eliza_activity_log_archive (
    like public.eliza_activity_log including generated including storage including comments, primary key (id, created_at)
) partition by range (created_at);
create index on public.eliza_activity_log_archive (created_at desc);
create index on public.eliza_activity_log_archive (activity_type, created_at);

create table public.api_call_logs_archive (
    like public.api_call_logs including generated including storage including comments, primary key (id, created_at)
) partition by range (created_at);
create index on public.api_call_logs_archive (created_at desc);
create index on public.api_call_logs_archive (created_at desc) where status <> 'success';

comment on table public.eliza_activity_log_archive is 'Older rows of eliza_activity_log, moved here by retention.';
comment on table public.api_call_logs_archive is 'Older rows of api_call_logs, moved here by retention.';

do $$
declare
    part record;
begin
    for part in
        select attrelid::regclass as log, attname from pg_attribute
        where attrelid in ('public.eliza_activity_log_archive'::regclass, 'public.api_call_logs_archive'::regclass)
          and attnum > 0 and not attisdropped and attnotnull and attname not in ('id', 'created_at')
    loop
        execute format('alter table %s alter column %I drop not null', part.log, part.attname);
    end loop;
end
$$;

alter table public.eliza_activity_log_archive enable row level security;
alter table public.api_call_logs_archive enable row level security;

-- 2. The routines. They run as their owner, for whoever keeps house need own nothing.

-- The columns that can be given, of which a row of the log consists.
create function gatekeeper.given_columns(log regclass) returns text
    language sql stable set search_path = pg_catalog, pg_temp
as $$
    select string_agg(quote_ident(attname), ', ' order by attnum)
    from pg_attribute
    where attrelid = log and attnum > 0 and not attisdropped and attgenerated = ''
$$;

-- An archive has every column that its log has; operators may have added some.
create function gatekeeper.fit_archive(log text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    lacking record;
begin
    for lacking in
        select attname, format_type(atttypid, atttypmod) as kind, attgenerated, pg_get_expr(adbin, adrelid) as made_by
        from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
        where attrelid = format('public.%I', log)::regclass and attnum > 0 and not attisdropped
          and attname not in (
              select attname from pg_attribute
              where attrelid = format('public.%I', log || '_archive')::regclass and attnum > 0 and not attisdropped
          )
    loop
        execute format('alter table public.%I add column %I %s%s', log || '_archive', lacking.attname, lacking.kind,
                       case lacking.attgenerated when 's' then format(' generated always as (%s) stored', lacking.made_by) else '' end);
    end loop;
end
$$;

-- The highest number of each instance in a partition, found by the index without reading what lies between.
create function gatekeeper.highest_numbers(place regclass) returns table (instance uuid, seq bigint)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query execute format(
        'with recursive found as (
             (select instance from %1$s where instance is not null order by instance limit 1)
             union all
             select (select later.instance from %1$s as later
                     where later.instance is not null and later.instance > found.instance order by later.instance limit 1)
             from found where found.instance is not null
         )
         select found.instance, (select row.seq from %1$s as row
                                 where row.instance = found.instance and row.seq is not null order by row.seq desc limit 1)
         from found where found.instance is not null', place
    );
end
$$;

-- The oldest partition that lies between two moments: only what is there by name is ever touched.
create function gatekeeper.oldest_partition(log text, after timestamptz, before timestamptz)
    returns table (partition regclass, begins timestamptz, ends timestamptz)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if log <> all (array['eliza_activity_log', 'api_call_logs', 'eliza_activity_log_archive', 'api_call_logs_archive']) then
        raise exception '% is no log of the gatekeeper''s', log;
    end if;
    return query
        select place.partition, place.begins, place.ends
        from gatekeeper.partitions(format('public.%I', log)::regclass) as place
        where place.ends > after and place.ends <= before
        order by place.ends limit 1;
end
$$;

-- What the indexes of a table are, apart from their names.
create function gatekeeper.index_forms(place regclass) returns table (is_unique boolean, form text)
    language sql stable set search_path = pg_catalog, pg_temp
as $$
    select indisunique, substring(pg_get_indexdef(indexrelid) from ' USING .*') from pg_index where indrelid = place
$$;

-- A day can move to the archive in a moment if what it may hold is written down on it, and if it has the archive's indexes: otherwise the
-- move reads all of it, or builds them, and everybody waits. Each call is one step; true if there is another.
create function gatekeeper.prepare_partition(log text, after timestamptz, before timestamptz) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '100ms'
as $$
declare
    old     record;
    known   boolean;
    lacking record;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatekeeper.maintenance', 0)) then
        return false;
    end if;
    select * into old from gatekeeper.oldest_partition(log, after, before);
    if old.partition is null or not isfinite(old.begins) then
        return false;
    end if;
    select convalidated into known from pg_constraint where conrelid = old.partition and conname = 'gatekeeper_day';
    if known is null then
        execute format('alter table %s add constraint gatekeeper_day check (created_at >= %L and created_at < %L) not valid',
                       old.partition, old.begins, old.ends);
        return true;
    end if;
    -- What follows reads the whole day, and keeps out nobody but who writes to it.
    if not known then
        execute format('alter table %s validate constraint gatekeeper_day', old.partition);
    end if;
    for lacking in
        select * from gatekeeper.index_forms(format('public.%I', log || '_archive')::regclass)
        except
        select * from gatekeeper.index_forms(old.partition)
    loop
        execute format('create %s index on %s%s', case when lacking.is_unique then 'unique' else '' end, old.partition, lacking.form);
    end loop;
    return false;
end
$$;

-- The oldest day that is over, moved to the archive or dropped. Nothing is returned if there is none.
create function gatekeeper.retire_partition(log text, after timestamptz, before timestamptz, into_archive boolean)
    returns table (place text, ended timestamptz, outcome text)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '100ms'
as $$
declare
    old       record;
    archive   text := log || '_archive';
    columns   text;
    has_rows  boolean := false;
    instances uuid[];
    highest   bigint[];
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatekeeper.maintenance', 0)) then
        -- Another gatekeeper is at work.
        outcome := 'busy';
    end if;
    select * into old from gatekeeper.oldest_partition(log, after, before);
    if old.partition is null then
        return;
    end if;
    place := old.partition::text;
    ended := old.ends;
    if outcome = 'busy' then
        return next;
        return;
    end if;
    begin
        -- What comes late waits here, and not for the whole log.
        execute format('lock table %s in share mode', old.partition);
        if log = 'eliza_activity_log' then
            select array_agg(found.instance), array_agg(found.seq) into instances, highest
            from gatekeeper.highest_numbers(old.partition) as found;
        end if;
        -- What was adopted is no day: its rows move one by one.
        if into_archive and not isfinite(old.begins) then
            execute format('select exists (select from %s)', old.partition) into has_rows;
        end if;
        if has_rows then
            outcome := 'rows';
        elsif into_archive and isfinite(old.begins) then
            perform gatekeeper.fit_archive(log);
            if exists (
                select from gatekeeper.partitions(format('public.%I', archive)::regclass) as there
                where there.begins < old.ends and there.ends > old.begins
            ) then
                -- Some of this day are there already: they came late, by themselves.
                columns := gatekeeper.given_columns(format('public.%I', log)::regclass);
                execute format('insert into public.%I (%s) select %2$s from %s on conflict (id, created_at) do nothing', archive, columns, old.partition);
                execute format('drop table %s', old.partition);
            elsif not exists (
                select from pg_constraint where conrelid = old.partition and conname = 'gatekeeper_day' and convalidated
            ) then
                -- It would be read whole while everybody waits. The next try finds it prepared.
                outcome := 'busy';
                return next;
                return;
            else
                execute format('alter table public.%I detach partition %s', log, old.partition);
                execute format('alter table public.%I attach partition %s for values from (%L) to (%L)',
                               archive, old.partition, old.begins, old.ends);
            end if;
            outcome := 'archived';
        else
            execute format('drop table %s', old.partition);
            outcome := 'dropped';
        end if;
        -- Numbers that go are no gaps. Last of all: writers who wait for these rows must not hold what is waited for here.
        update gatekeeper.instances as known set kept_from = gone.seq + 1
        from unnest(instances, highest) as gone (instance, seq)
        where outcome <> 'rows' and gone.instance = known.instance and gone.seq >= known.kept_from;
    exception
        when lock_not_available or deadlock_detected then
            outcome := 'busy';
        -- One that cannot go must not keep the others.
        when others then
            outcome := sqlerrm;
            execute format('select exists (select from %s)', old.partition) into has_rows;
            if not has_rows then
                outcome := 'empty';
            end if;
    end;
    return next;
end
$$;

-- Rows that lie in no day of their own: of days long before, and of those that were adopted. At most so many; how many there were.
create function gatekeeper.retire_rows(log text, after timestamptz, before timestamptz, into_archive boolean, most integer) returns bigint
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '100ms'
as $$
declare
    place   text;
    archive text := log || '_archive';
    oldest  timestamptz;
    day     date;
    upto    timestamptz;
    name    text;
    columns text;
    numbers text;
    gone    bigint;
    total   bigint := 0;
begin
    if log <> all (array['eliza_activity_log', 'api_call_logs']) then
        raise exception '% is no log of the gatekeeper''s', log;
    end if;
    columns := gatekeeper.given_columns(format('public.%I', log)::regclass);
    numbers := case log when 'eliza_activity_log' then
        ', noted as (
             update gatekeeper.instances as known set kept_from = highest.seq + 1
             from (select instance, max(seq) as seq from gone where instance is not null and seq is not null group by 1) as highest
             where highest.instance = known.instance and highest.seq >= known.kept_from
         )' else '' end;
    foreach place in array array[format('gatekeeper.%I', log || '_default'), format('gatekeeper.%I', log || '_history')] loop
        continue when to_regclass(place) is null;
        upto := before;
        if into_archive then
            execute format('select min(created_at) from %s where created_at >= $1 and created_at < $2 and isfinite(created_at)', place)
                into oldest using after, before;
            continue when oldest is null;
            if not pg_try_advisory_xact_lock(hashtextextended('gatekeeper.maintenance', 0)) then
                raise exception 'another gatekeeper is at work on old rows' using errcode = 'lock_not_available';
            end if;
            perform gatekeeper.fit_archive(log);
            -- A day at a time, each into its own.
            day := oldest::date;
            upto := least(before, (day + 1)::timestamptz);
            if not exists (
                select from gatekeeper.partitions(format('public.%I', archive)::regclass) as there
                where there.begins <= day and there.ends > day
            ) then
                name := archive || '_' || to_char(day, 'YYYYMMDD');
                execute format('create table gatekeeper.%I (like public.%I including all)', name, archive);
                execute format('alter table gatekeeper.%I enable row level security', name);
                execute format('alter table public.%I attach partition gatekeeper.%I for values from (%L) to (%L)',
                               archive, name, day::timestamptz, (day + 1)::timestamptz);
            end if;
        end if;
        execute format(
            'with gone as (
                 delete from %1$s
                 where ctid = any (array(select ctid from %1$s where created_at >= $1 and created_at < $2 limit $3 for update skip locked))
                 returning *
             )%2$s%3$s
             select count(*) from gone',
            place,
            case when into_archive then
                format(', moved as (insert into public.%I (%s) select %2$s from gone on conflict (id, created_at) do nothing)', archive, columns)
            else '' end,
            numbers
        ) into gone using after, upto, most;
        total := total + gone;
    end loop;
    return total;
end
$$;

-- Rows of a day that has no partition yet would wait as long as this.
alter function gatekeeper.make_partitions(date, integer) set lock_timeout = '100ms';

-- What gatekeepers before this migration call, by the routines of today.
create or replace function gatekeeper.drop_partitions(activity_before timestamptz, api_calls_before timestamptz) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    log     record;
    after   timestamptz;
    done    record;
    dropped integer := 0;
begin
    for log in
        select * from (values ('eliza_activity_log', activity_before), ('api_call_logs', api_calls_before)) as logs (name, before)
    loop
        after := '-infinity';
        loop
            select * into done from gatekeeper.retire_partition(log.name, after, log.before, false);
            exit when not found;
            after := done.ended;
            if done.outcome = 'dropped' then
                dropped := dropped + 1;
            else
                raise warning 'the partition % stays: %', done.place, done.outcome;
            end if;
        end loop;
    end loop;
    return dropped;
end
$$;

create or replace function gatekeeper.delete_old_rows(
    activity_before timestamptz, api_calls_before timestamptz, rate_limits_before timestamptz, signals_before timestamptz, most integer
) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '3s'
as $$
declare
    place   record;
    deleted bigint;
    total   bigint;
begin
    total := gatekeeper.retire_rows('eliza_activity_log', '-infinity', activity_before, false, most)
             + gatekeeper.retire_rows('api_call_logs', '-infinity', api_calls_before, false, most);
    for place in
        select * from (values
            ('public.rate_limits', 'window_start', rate_limits_before),
            ('gatekeeper.signals', 'at', signals_before)
        ) as places (name, moment, before)
    loop
        execute format(
            'delete from %1$s where ctid = any (array(select ctid from %1$s where %2$I < $1 limit $2 for update skip locked))',
            place.name, place.moment
        ) using place.before, most;
        get diagnostics deleted = row_count;
        total := total + deleted;
    end loop;
    return total;
end
$$;

-- 3. What finds a number in the log, and the few calls of a day that went wrong. Each index keeps writers out of what it is built on until
-- all of this is committed, so days that are over come first, in both logs, then those that are written to, and last of all the logs
-- themselves: these find all others made and take a moment.

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

-- 4. Who may see and change what. (Policies keep everybody out of the logs until they are committed, so they come last.)

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
        'gatekeeper.call_stats', 'gatekeeper.keys', 'gatekeeper.signals', 'gatekeeper.enforcement', 'gatekeeper.blocks',
        'gatekeeper.instances', 'gatekeeper.losses'
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
    stranger text;
    admitted name;
begin
    foreach made in array array['public.eliza_activity_log_archive', 'public.api_call_logs_archive']::regclass[] loop
        for holder in select distinct grantee from pg_class cross join aclexplode(relacl) where oid = made and grantee <> relowner loop
            execute format('revoke all on %s from %s', made, case holder when 0 then 'public' else quote_ident(pg_get_userbyid(holder)) end);
        end loop;
    end loop;
    for stranger in
        select 'public' union all select quote_ident(rolname) from pg_roles where rolname in ('anon', 'authenticated')
    loop
        execute format('revoke all on all functions in schema gatekeeper from %s', stranger);
    end loop;
    for admitted in
        select rolname from pg_policy join pg_roles on pg_roles.oid = any (polroles)
        where polrelid = 'gatekeeper.keys'::regclass and polname::text like 'gatekeeper admits %'
    loop
        perform gatekeeper.admit(admitted);
    end loop;
end
$$;
