-- The same tables as on Postgres, in one file's namespace: what is the gatekeeper's own begins with gatekeeper_.
-- Moments are texts 'YYYY-MM-DD HH:MM:SS.ffffff' in UTC: they sort as time does, and compare with datetime('now', …).
-- Ids that are left out are random UUIDs (version 4), so that other programs may insert without one.

create table eliza_activity_log (
    id                text    not null default (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    activity_type     text    not null,
    title             text    not null,
    description       text,
    metadata          text    default '{}',
    status            text    not null default 'completed',
    mentioned_to_user boolean default false,
    created_at        text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    updated_at        text    default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    primary key (id, created_at)
);
-- Read from either end. Rows come in the order of time: an index that grows at its end costs a third less than one that grows at its head.
create index eliza_activity_log_created_at on eliza_activity_log (created_at);
create index eliza_activity_log_activity_type on eliza_activity_log (activity_type, created_at);

create table api_call_logs (
    id                text    not null default (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    function_name     text    not null,
    called_at         text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    execution_time_ms integer,
    -- Not a list: SQLite makes a table of one, for each row that it checks.
    status            text    not null default 'pending'
                      check (status = 'success' or status = 'error' or status = 'timeout' or status = 'pending'),
    error_message     text,
    request_payload   text,
    response_data     text,
    caller_context    text,
    created_at        text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    -- One index for what is asked by time and for what makes a row one: each more costs every record a twelfth of its writing. Who has an id
    -- finds the moment beside it in the activity log.
    primary key (created_at, id)
);

create table rate_limits (
    id            text    not null primary key default (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    identifier    text    not null,
    endpoint      text    not null,
    request_count integer not null default 1,
    window_start  text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    created_at    text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    unique (identifier, endpoint, window_start)
);
create index rate_limits_window_start on rate_limits (window_start);

-- What eliza_gatekeeper_stats sums up. Retention never touches it: it holds no payload, and history is what it is for.
create table gatekeeper_call_stats (
    hour            text    not null,
    source          text    not null,
    target          text    not null,
    successful      integer not null default 0,
    failed          integer not null default 0,
    denied          integer not null default 0,
    duration_ms_sum integer not null default 0,
    first_call_at   text    not null,
    last_call_at    text    not null,
    primary key (hour, source, target)
) without rowid;

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
       min(first_call_at) as first_call_at
from gatekeeper_call_stats
group by source, target;

-- Keys by their hash; a key itself is never stored. The lists are JSON arrays; an empty one admits all.
create table gatekeeper_keys (
    id           text not null primary key,
    name         text not null,
    hash         blob not null unique check (length(hash) = 32),
    sources      text not null default '[]',
    targets      text not null default '[]',
    actions      text not null default '[]',
    created_at   text not null,
    not_before   text,
    expires_at   text,
    revoked_at   text,
    last_used_at text
);

-- Changes that running gatekeepers must hear of. Writers follow one another here, so ids are in the order of commits;
-- with autoincrement no id is ever given out twice.
create table gatekeeper_signals (
    id            integer primary key autoincrement,
    at            text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    kind          text not null,
    identifier    text,
    endpoint      text,
    window_start  text,
    request_count integer
);
create index gatekeeper_signals_at on gatekeeper_signals (at);

-- The longest window is an aligned UTC day: older counts weigh on nothing, so retention stays silent.
create trigger gatekeeper_counts_deleted after delete on rate_limits when old.window_start >= date('now')
begin
    insert into gatekeeper_signals (kind, identifier, endpoint, window_start, request_count)
    values ('counts_deleted', old.identifier, old.endpoint, old.window_start, old.request_count);
end;

create trigger gatekeeper_keys_inserted after insert on gatekeeper_keys
begin
    insert into gatekeeper_signals (kind) values ('keys_changed');
end;

create trigger gatekeeper_keys_deleted after delete on gatekeeper_keys
begin
    insert into gatekeeper_signals (kind) values ('keys_changed');
end;

-- That a key was used is no news.
create trigger gatekeeper_keys_updated after update on gatekeeper_keys
when (old.id, old.name, old.hash, old.sources, old.targets, old.actions, old.created_at, old.not_before, old.expires_at, old.revoked_at)
    is not (new.id, new.name, new.hash, new.sources, new.targets, new.actions, new.created_at, new.not_before, new.expires_at, new.revoked_at)
begin
    insert into gatekeeper_signals (kind) values ('keys_changed');
end;
