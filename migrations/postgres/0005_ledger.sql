-- That no record is lost, shown: each row of the activity log that a gatekeeper writes says which run of which gatekeeper made it and as
-- its how-manieth. The view tells which numbers have no row. (Its index comes in 0011, so that nobody waits for it behind these locks.)

set local search_path = pg_catalog;
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

-- 1. The log. Columns without a default rewrite nothing; rows of other programs have neither.

alter table public.eliza_activity_log
    add column if not exists instance uuid,
    add column if not exists seq bigint;

do $$
declare
    wrong text;
begin
    select string_agg(format('public.eliza_activity_log.%s should be %s and not %s', attname, kind, format_type(atttypid, atttypmod)), '; ')
    into wrong
    from (values ('instance', 'uuid'), ('seq', 'bigint')) as needed (name, kind)
    join pg_attribute on attrelid = 'public.eliza_activity_log'::regclass and attname = name and not attisdropped
    where format_type(atttypid, atttypmod) <> kind;
    if wrong is not null then
        raise exception 'columns in the way that the gatekeeper cannot adopt: %', wrong
            using hint = 'Rename them: the gatekeeper then makes its own.';
    end if;
end
$$;

-- 2. Who counts, and how far.

create table gatekeeper.instances (
    instance   uuid        primary key,
    started_at timestamptz not null,
    -- The highest number known.
    through    bigint      not null default 0 check (through >= 0),
    -- Below this, retention has let go of rows.
    kept_from  bigint      not null default 1 check (kept_from >= 1),
    ended_at   timestamptz
);

-- Numbers that will never have a row.
create table gatekeeper.losses (
    instance  uuid        not null,
    first_seq bigint      not null check (first_seq >= 1),
    last_seq  bigint      not null,
    reason    text        not null,
    at        timestamptz not null default now(),
    primary key (instance, first_seq, last_seq),
    check (last_seq >= first_seq)
);

alter table gatekeeper.instances enable row level security;
alter table gatekeeper.losses enable row level security;

-- 3. Every hole: numbers without a row, as far as losses explain them and as far as nothing does.

create view public.gatekeeper_log_gaps as
with numbers as (
    select instance, seq from public.eliza_activity_log where instance is not null
    union all
    select instance, kept_from - 1 from gatekeeper.instances
    union all
    select instance, through + 1 from gatekeeper.instances
), steps as (
    select instance, seq, lead(seq) over (partition by instance order by seq) as next from numbers
), holes as (
    select instance, seq + 1 as first_seq, next - 1 as last_seq, started_at
    from steps join gatekeeper.instances using (instance)
    where next > seq + 1 and seq + 1 >= kept_from
), explained as (
    select instance, holes.first_seq as hole, started_at, reason, at,
           greatest(losses.first_seq, holes.first_seq) as first_seq, least(losses.last_seq, holes.last_seq) as last_seq
    from holes join gatekeeper.losses using (instance)
    where losses.first_seq <= holes.last_seq and losses.last_seq >= holes.first_seq
), unexplained as (
    -- What lies before each explained part, and before the end of the hole.
    select instance, started_at,
           1 + coalesce(max(last_seq) over (partition by instance, hole order by first_seq, last_seq
                                            rows between unbounded preceding and 1 preceding), hole - 1) as first_seq,
           first_seq - 1 as last_seq
    from (
        select instance, started_at, first_seq as hole, last_seq + 1 as first_seq, last_seq + 1 as last_seq from holes
        union all
        select instance, started_at, hole, first_seq, last_seq from explained
    ) as parts
)
select instance, first_seq, last_seq, last_seq - first_seq + 1 as missing, reason, at as lost_at, started_at from explained
union all
select instance, first_seq, last_seq, last_seq - first_seq + 1, null, null, started_at from unexplained where last_seq >= first_seq;

comment on view public.gatekeeper_log_gaps is
    'Numbers of records that have no row in eliza_activity_log. Where reason is null, nobody knows why.';

do $$
begin
    if current_setting('server_version_num')::integer >= 150000 then
        alter view public.gatekeeper_log_gaps set (security_invoker = true);
    end if;
end
$$;

-- 4. What we make is for nobody until gatekeeper.admit says so, whatever default privileges give away. Every file that makes something
--    says so at its end.

create function gatekeeper.close_to_all(tables regclass[]) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    made     regclass;
    holder   oid;
    stranger text;
begin
    foreach made in array tables loop
        for holder in select distinct grantee from pg_class cross join aclexplode(relacl) where oid = made and grantee <> relowner loop
            execute format('revoke all on %s from %s', made, case holder when 0 then 'public' else quote_ident(pg_get_userbyid(holder)) end);
        end loop;
    end loop;
    for stranger in
        select 'public' union all select quote_ident(rolname) from pg_roles where rolname in ('anon', 'authenticated')
    loop
        execute format('revoke all on all functions in schema gatekeeper from %s', stranger);
    end loop;
end
$$;

select gatekeeper.close_to_all(array['gatekeeper.instances', 'gatekeeper.losses', 'public.gatekeeper_log_gaps']::regclass[]);
