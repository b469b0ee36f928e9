-- Letting go of old rows without anybody waiting for it: days of the logs move to an archive beside them as a whole, and are dropped as a
-- whole. Every step is one transaction, none waits for a lock for more than a tenth of a second, because all writers queue up behind it; and
-- what reads a day or builds indexes is a step before the one that keeps everybody out.
-- (DETACH … CONCURRENTLY is not for tables that have a default partition, and these must: no row may be refused for its date.)

set local search_path = pg_catalog;
set local timezone = 'UTC';
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

-- The routines run as their owner, for whoever keeps house need own nothing.

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
            ) or exists (
                select * from gatekeeper.index_forms(format('public.%I', archive)::regclass)
                except
                select * from gatekeeper.index_forms(old.partition)
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
        -- Anybody may have written a row with any number: beyond what is known to have been given, none counts.
        update gatekeeper.instances as known set kept_from = least(gone.seq, known.through) + 1
        from unnest(instances, highest) as gone (instance, seq)
        where outcome <> 'rows' and gone.instance = known.instance and least(gone.seq, known.through) >= known.kept_from;
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
             update gatekeeper.instances as known set kept_from = least(highest.seq, known.through) + 1
             from (select instance, max(seq) as seq from gone where instance is not null and seq is not null group by 1) as highest
             where highest.instance = known.instance and least(highest.seq, known.through) >= known.kept_from
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

-- What gatekeepers before this migration call, by the routines of today. They know of no archive, so all goes there, and a gatekeeper of
-- today lets go of what policy does not want archived. A day is prepared by one call and moves with the next.
create or replace function gatekeeper.drop_partitions(activity_before timestamptz, api_calls_before timestamptz) returns integer
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    log     record;
    after   timestamptz;
    done    record;
    dropped integer := 0;
begin
    perform gatekeeper.prepare_partition('eliza_activity_log', '-infinity', activity_before);
    perform gatekeeper.prepare_partition('api_call_logs', '-infinity', api_calls_before);
    for log in
        select * from (values ('eliza_activity_log', activity_before), ('api_call_logs', api_calls_before)) as logs (name, before)
    loop
        after := '-infinity';
        loop
            select * into done from gatekeeper.retire_partition(log.name, after, log.before, true);
            exit when not found;
            after := done.ended;
            if done.outcome = 'archived' then
                dropped := dropped + 1;
            elsif done.outcome <> 'rows' then
                raise warning 'the partition % stays for now: %', done.place, done.outcome;
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
    total := gatekeeper.retire_rows('eliza_activity_log', '-infinity', activity_before, true, most)
             + gatekeeper.retire_rows('api_call_logs', '-infinity', api_calls_before, true, most);
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

select gatekeeper.close_to_all('{}');
