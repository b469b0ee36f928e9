-- Statistics that say more: how long calls take at worst and for nearly all of them, and what they were about. Retention touches none.

alter table gatekeeper_call_stats add column duration_ms_max integer not null default 0;

-- How many calls took up to so many milliseconds and longer than the next shorter step.
create table gatekeeper_call_durations (
    day      text    not null,
    source   text    not null,
    target   text    not null,
    up_to_ms integer not null,
    calls    integer not null default 0,
    primary key (day, source, target, up_to_ms)
) without rowid;

-- As gatekeeper_call_stats, by action. Actions that a source uses too many of count together, as for its limits.
create table gatekeeper_action_stats (
    hour            text    not null,
    source          text    not null,
    target          text    not null,
    action          text    not null,
    successful      integer not null default 0,
    failed          integer not null default 0,
    denied          integer not null default 0,
    duration_ms_sum integer not null default 0,
    duration_ms_max integer not null default 0,
    primary key (hour, source, target, action)
) without rowid;

drop view eliza_gatekeeper_stats;
create view eliza_gatekeeper_stats as
select source,
       target,
       sum(successful + failed + denied) as total_calls,
       sum(successful) as successful_calls,
       sum(failed) as failed_calls,
       -- Over the calls that were let through: a refusal takes no time worth knowing.
       round(1.0 * sum(duration_ms_sum) / nullif(sum(successful + failed), 0), 2) as avg_duration_ms,
       max(last_call_at) as last_call_at,
       sum(denied) as denied_calls,
       min(first_call_at) as first_call_at,
       -- No more than this: the end of the step in which it lies.
       min(slow.p95_duration_ms) as p95_duration_ms,
       max(duration_ms_max) as max_duration_ms
from gatekeeper_call_stats
left join (
    select source, target, min(case when calls_up_to >= 0.95 * calls then up_to_ms end) as p95_duration_ms
    from (
        select source, target, up_to_ms,
               sum(sum(calls)) over (partition by source, target order by up_to_ms) as calls_up_to,
               sum(sum(calls)) over (partition by source, target) as calls
        from gatekeeper_call_durations
        group by source, target, up_to_ms
    ) as steps
    group by source, target
) as slow using (source, target)
group by source, target;
