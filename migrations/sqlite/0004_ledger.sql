-- That no record is lost, shown: each row of the activity log that a gatekeeper writes says which run of which gatekeeper made it and as
-- its how-manieth. The view tells which numbers have no row.

alter table eliza_activity_log add column instance text;
alter table eliza_activity_log add column seq integer;
create index eliza_activity_log_instance_seq on eliza_activity_log (instance, seq) where instance is not null;

create table gatekeeper_instances (
    instance   text    not null primary key,
    started_at text    not null,
    -- The highest number known.
    through    integer not null default 0 check (through >= 0),
    -- Below this, retention has let go of rows.
    kept_from  integer not null default 1 check (kept_from >= 1),
    ended_at   text
) without rowid;

-- Numbers that will never have a row.
create table gatekeeper_losses (
    instance  text    not null,
    first_seq integer not null check (first_seq >= 1),
    last_seq  integer not null,
    reason    text    not null,
    at        text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    primary key (instance, first_seq, last_seq),
    check (last_seq >= first_seq)
) without rowid;

-- Every hole: numbers without a row, as far as losses explain them and as far as nothing does.
create view gatekeeper_log_gaps as
with numbers as (
    select instance, seq from eliza_activity_log where instance is not null
    union all
    select instance, kept_from - 1 from gatekeeper_instances
    union all
    select instance, through + 1 from gatekeeper_instances
), steps as (
    select instance, seq, lead(seq) over (partition by instance order by seq) as next from numbers
), holes as (
    select instance, seq + 1 as first_seq, next - 1 as last_seq, started_at
    from steps join gatekeeper_instances using (instance)
    where next > seq + 1 and seq + 1 >= kept_from
), explained as (
    select instance, holes.first_seq as hole, started_at, reason, at,
           max(losses.first_seq, holes.first_seq) as first_seq, min(losses.last_seq, holes.last_seq) as last_seq
    from holes join gatekeeper_losses as losses using (instance)
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
