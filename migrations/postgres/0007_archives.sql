-- Where old rows of the logs lie that policy keeps: tables beside them, whose partitions are the days that were the logs'.

set local search_path = pg_catalog;
set local timezone = 'UTC';
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

-- 1. What the logs are, but for rules about new rows. Another table of that name is not ours to touch.

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

-- 2. What is asked of the logs and their archives.

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

select gatekeeper.close_to_all(array['public.eliza_activity_log_archive', 'public.api_call_logs_archive']::regclass[]);
