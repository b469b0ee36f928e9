-- Schema gatekeeper: everything that is the gatekeeper's own. The tables clients query are in public (0002).

set local client_min_messages = warning;

do $$
begin
    if current_setting('server_version_num')::integer < 130000 then
        raise exception 'the gatekeeper needs PostgreSQL 13 or newer, this is %', current_setting('server_version');
    end if;
end
$$;

create schema if not exists gatekeeper;
revoke all on schema gatekeeper from public;

-- What eliza_gatekeeper_stats sums up. Retention never touches it: it holds no payload, and history is what it is for.
create table gatekeeper.call_stats (
    hour            timestamptz not null,
    source          text        not null,
    target          text        not null,
    successful      bigint      not null default 0,
    failed          bigint      not null default 0,
    denied          bigint      not null default 0,
    duration_ms_sum bigint      not null default 0,
    first_call_at   timestamptz not null,
    last_call_at    timestamptz not null,
    primary key (hour, source, target)
);

-- Keys by their hash; a key itself is never stored. An empty list admits all.
create table gatekeeper.keys (
    id           text        primary key,
    name         text        not null,
    hash         bytea       not null unique check (octet_length(hash) = 32),
    sources      text[]      not null default '{}',
    targets      text[]      not null default '{}',
    actions      text[]      not null default '{}',
    created_at   timestamptz not null default now(),
    not_before   timestamptz,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- Changes that running gatekeepers must hear of. They poll by transaction, not by id: ids are given out before commit,
-- so whoever remembers the highest one it saw passes over a transaction that took its id early and commits late.
create table gatekeeper.signals (
    id            bigint      generated always as identity primary key,
    xid           xid8        not null default pg_current_xact_id(),
    at            timestamptz not null default now(),
    kind          text        not null,
    identifier    text,
    endpoint      text,
    window_start  timestamptz,
    request_count bigint
);
create index signals_xid on gatekeeper.signals (xid);
create index signals_at on gatekeeper.signals (at);

-- The trigger functions run as their owner: whoever may delete a count needs no right on signals.
create function gatekeeper.on_counts_deleted() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- The longest window is an aligned UTC day: older counts weigh on nothing, so retention stays silent.
    insert into gatekeeper.signals (kind, identifier, endpoint, window_start, request_count)
    select 'counts_deleted', identifier, endpoint, window_start, request_count
    from gone
    where window_start >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
    return null;
end
$$;

create function gatekeeper.on_counts_truncated() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into gatekeeper.signals (kind) values ('all_counts_deleted');
    return null;
end
$$;

create function gatekeeper.on_keys_changed() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into gatekeeper.signals (kind) values ('keys_changed');
    return null;
end
$$;

-- That a key was used is no news.
create function gatekeeper.on_keys_updated() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select to_jsonb(o) - 'last_used_at' from gone o
        except
        select to_jsonb(n) - 'last_used_at' from came n
    ) then
        insert into gatekeeper.signals (kind) values ('keys_changed');
    end if;
    return null;
end
$$;

create trigger keys_inserted after insert on gatekeeper.keys for each statement execute function gatekeeper.on_keys_changed();
create trigger keys_deleted after delete on gatekeeper.keys for each statement execute function gatekeeper.on_keys_changed();
create trigger keys_truncated after truncate on gatekeeper.keys for each statement execute function gatekeeper.on_keys_changed();
create trigger keys_updated after update on gatekeeper.keys
    referencing old table as gone new table as came for each statement execute function gatekeeper.on_keys_updated();

-- The partitions of a log table and what they hold; `ends` is null for the default partition.
create function gatekeeper.partitions(parent regclass)
    returns table (partition regclass, begins timestamptz, ends timestamptz)
    language sql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO'
as $$
    select child.oid::regclass,
           coalesce(substring(bounds from 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
           substring(bounds from 'TO \(''([^'']+)''\)')::timestamptz
    from pg_inherits
    join pg_class child on child.oid = inhrelid
    cross join lateral pg_get_expr(child.relpartbound, child.oid) as bounds
    where inhparent = parent
$$;

-- The three routines of maintenance run as their owner, so that `serve` can keep house without DDL rights. The first two are
-- for one gatekeeper at a time: whoever comes second leaves the work to the first. None of them waits long for a lock,
-- because every writer would queue up behind it.
create function gatekeeper.make_partitions(first_day date, days_ahead integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '3s'
as $$
declare
    parent  text;
    day     date;
    name    text;
    columns text;
    made    integer := 0;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatekeeper.maintenance', 0)) then
        return 0;
    end if;
    foreach parent in array array['eliza_activity_log', 'api_call_logs'] loop
        select string_agg(quote_ident(attname), ', ' order by attnum) into columns
        from pg_attribute
        where attrelid = format('public.%I', parent)::regclass and attnum > 0 and not attisdropped and attgenerated = '';

        for day in select first_day + ahead from generate_series(0, days_ahead) as ahead loop
            continue when exists (
                select from gatekeeper.partitions(format('public.%I', parent)::regclass) as other
                where other.begins < day + 1 and other.ends > day
            );
            name := parent || '_' || to_char(day, 'YYYYMMDD');
            -- Attached, not created in place: that would lock every writer of the table out.
            execute format('create table gatekeeper.%I (like public.%I including all)', name, parent);
            execute format('alter table gatekeeper.%I enable row level security', name);
            -- Rows of that day that came before their partition wait in the default one, which must hold none of them.
            execute format('lock table gatekeeper.%I in access exclusive mode', parent || '_default');
            execute format(
                'with moved as (delete from gatekeeper.%1$I where created_at >= %3$L and created_at < %4$L returning %5$s) '
                'insert into gatekeeper.%2$I (%5$s) select %5$s from moved',
                parent || '_default', name, day::timestamptz, (day + 1)::timestamptz, columns
            );
            execute format(
                'alter table public.%I attach partition gatekeeper.%I for values from (%L) to (%L)',
                parent, name, day::timestamptz, (day + 1)::timestamptz
            );
            made := made + 1;
        end loop;
    end loop;
    return made;
end
$$;

create function gatekeeper.drop_partitions(activity_before timestamptz, api_calls_before timestamptz) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '3s'
as $$
declare
    old     regclass;
    dropped integer := 0;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatekeeper.maintenance', 0)) then
        return 0;
    end if;
    for old in
        select partition from gatekeeper.partitions('public.eliza_activity_log') where ends <= activity_before
        union all
        select partition from gatekeeper.partitions('public.api_call_logs') where ends <= api_calls_before
    loop
        -- One that cannot go now must not keep the others.
        begin
            execute format('drop table %s', old);
            dropped := dropped + 1;
        exception when dependent_objects_still_exist or lock_not_available then
            raise warning 'the partition % stays: %', old, sqlerrm;
        end;
    end loop;
    return dropped;
end
$$;

-- Rows too old that lie in no daily partition, at most so many of each table; returns how many there were in all.
create function gatekeeper.delete_old_rows(
    activity_before timestamptz, api_calls_before timestamptz, rate_limits_before timestamptz, signals_before timestamptz, most integer
) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '3s'
as $$
declare
    place   record;
    deleted bigint;
    total   bigint := 0;
begin
    for place in
        select * from (values
            ('gatekeeper.eliza_activity_log_default', 'created_at', activity_before),
            ('gatekeeper.eliza_activity_log_history', 'created_at', activity_before),
            ('gatekeeper.api_call_logs_default', 'created_at', api_calls_before),
            ('gatekeeper.api_call_logs_history', 'created_at', api_calls_before),
            ('public.rate_limits', 'window_start', rate_limits_before),
            ('gatekeeper.signals', 'at', signals_before)
        ) as places (name, moment, before)
        where to_regclass(name) is not null
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

-- Full rights for one role: `service_role` gets them where it exists, and an operator may admit the role that `serve` runs as.
create function gatekeeper.admit(who name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    log text;
begin
    execute format('grant usage on schema public, gatekeeper to %I', who);
    execute format('grant select on public.eliza_gatekeeper_stats, gatekeeper.migrations to %I', who);
    execute format(
        'grant execute on function gatekeeper.partitions, gatekeeper.make_partitions, gatekeeper.drop_partitions, '
        'gatekeeper.delete_old_rows to %I', who
    );
    foreach log in array array[
        'public.eliza_activity_log', 'public.api_call_logs', 'public.rate_limits',
        'gatekeeper.call_stats', 'gatekeeper.keys', 'gatekeeper.signals'
    ] loop
        -- Not TRIGGER: whoever may hang a trigger on a table can have it run with the rights of the routines above.
        execute format('revoke all on table %s from %I', log, who);
        execute format('grant select, insert, update, delete, truncate on table %s to %I', log, who);
        execute format('drop policy if exists %I on %s', 'gatekeeper admits ' || who, log);
        execute format('create policy %I on %s to %I using (true) with check (true)', 'gatekeeper admits ' || who, log, who);
    end loop;
    execute format('drop policy if exists %I on gatekeeper.migrations', 'gatekeeper admits ' || who);
    execute format('create policy %I on gatekeeper.migrations for select to %I using (true)', 'gatekeeper admits ' || who, who);
end
$$;

alter table gatekeeper.call_stats enable row level security;
alter table gatekeeper.keys enable row level security;
alter table gatekeeper.signals enable row level security;
alter table gatekeeper.migrations enable row level security;
revoke all on all tables in schema gatekeeper from public;
revoke all on all functions in schema gatekeeper from public;
