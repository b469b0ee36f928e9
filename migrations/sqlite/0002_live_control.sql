-- What operators change while gatekeepers run: flags, enforcement, blocks. Every change made here is heard of, and one made by hand is
-- audited by the database itself. Gatekeepers say when they changed a row (changed_at); who does not changed it by hand.

create table feature_flags (
    name               text    not null primary key,
    enabled            boolean not null default true check (enabled in (0, 1)),
    kill_switch        boolean not null default false check (kill_switch in (0, 1)),
    rollout_percentage integer not null default 100
                       check (typeof(rollout_percentage) = 'integer' and rollout_percentage between 0 and 100),
    description        text,
    changed_at         text,
    changed_by         text,
    created_at         text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
);

create table security_audit (
    id         text not null primary key default (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'),
    actor      text not null,
    action     text not null,
    subject    text not null,
    reason     text,
    before     text,
    after      text
);
create index security_audit_created_at on security_audit (created_at desc);

create table security_events (
    id                text    not null primary key default (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    event_type        text    not null,
    event_description text,
    risk_score        integer not null default 0,
    metadata          text    not null default '{}',
    created_at        text    not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
);
create index security_events_created_at on security_events (created_at desc);

-- One row for each gate, always: so that one UPDATE is an operator's switch. A mode of null is what the gatekeeper was started with.
create table gatekeeper_enforcement (
    gate       text not null primary key check (
        gate in ('authenticate', 'blocklist', 'source_limit', 'authorize', 'endpoint_limit', 'sql_filter', 'schema_check')
    ),
    mode       text check (mode in ('enforce', 'observe')),
    until      text check (until is null or until glob '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' and julianday(until) is not null),
    afterwards text check (afterwards in ('enforce', 'observe')),
    reason     text,
    actor      text,
    changed_at text
);
insert into gatekeeper_enforcement (gate)
values ('authenticate'), ('blocklist'), ('source_limit'), ('authorize'), ('endpoint_limit'), ('sql_filter'), ('schema_check');

-- Those that have ended stay: they tell who was kept out, and when.
create table gatekeeper_blocks (
    id         text not null primary key default (lower(
        hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
        || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))
        check (id glob '????????-????-????-????-????????????' and not id glob '*[^0-9a-f-]*'),
    kind       text not null check (kind in ('network', 'source')),
    subject    text not null,
    reason     text not null default '',
    actor      text,
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
               check (created_at glob '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' and julianday(created_at) is not null),
    until      text check (until is null or until glob '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' and julianday(until) is not null),
    changed_at text
);

-- Signals. A flag that is on for everybody is no news when it comes: it switches nothing off.

create trigger gatekeeper_flags_inserted after insert on feature_flags
when not new.enabled or new.kill_switch or new.rollout_percentage < 100
begin
    insert into gatekeeper_signals (kind) values ('flags_changed');
end;

create trigger gatekeeper_flags_updated after update on feature_flags
when (new.name, new.enabled, new.kill_switch, new.rollout_percentage) is not (old.name, old.enabled, old.kill_switch, old.rollout_percentage)
begin
    insert into gatekeeper_signals (kind) values ('flags_changed');
end;

create trigger gatekeeper_flags_deleted after delete on feature_flags
begin
    insert into gatekeeper_signals (kind) values ('flags_changed');
end;

-- A change by hand is stamped by the triggers further below, and is heard of by its stamp.
create trigger gatekeeper_enforcement_updated after update on gatekeeper_enforcement
when new.changed_at is not old.changed_at
begin
    insert into gatekeeper_signals (kind) values ('enforcement_changed');
end;

create trigger gatekeeper_blocks_inserted after insert on gatekeeper_blocks
begin
    insert into gatekeeper_signals (kind) values ('blocks_changed');
end;

create trigger gatekeeper_blocks_updated after update on gatekeeper_blocks
when new.changed_at is not old.changed_at and old.changed_at is not null
begin
    insert into gatekeeper_signals (kind) values ('blocks_changed');
end;

create trigger gatekeeper_blocks_deleted after delete on gatekeeper_blocks
begin
    insert into gatekeeper_signals (kind) values ('blocks_changed');
end;

-- By hand: stamped with a moment later than any before it, and audited.

create trigger gatekeeper_flags_inserted_by_hand after insert on feature_flags when new.changed_at is null
begin
    update feature_flags set changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', changed_by = 'database' where name = new.name;
    insert into security_audit (actor, action, subject, after)
    values ('database', 'flag_changed_by_hand', new.name, json_object(
        'name', new.name, 'enabled', json(iif(new.enabled, 'true', 'false')), 'kill_switch', json(iif(new.kill_switch, 'true', 'false')),
        'rollout_percentage', new.rollout_percentage));
end;

create trigger gatekeeper_flags_updated_by_hand after update on feature_flags
when new.changed_at is old.changed_at
    and (new.name, new.enabled, new.kill_switch, new.rollout_percentage)
        is not (old.name, old.enabled, old.kill_switch, old.rollout_percentage)
begin
    update feature_flags
    set changed_at = max(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000',
                         coalesce(strftime('%Y-%m-%d %H:%M:%f', old.changed_at, '+0.001 seconds') || '000', '')),
        changed_by = 'database'
    where name = new.name;
    insert into security_audit (actor, action, subject, before, after)
    values ('database', 'flag_changed_by_hand', new.name,
            json_object(
                'name', old.name, 'enabled', json(iif(old.enabled, 'true', 'false')),
                'kill_switch', json(iif(old.kill_switch, 'true', 'false')), 'rollout_percentage', old.rollout_percentage),
            json_object(
                'name', new.name, 'enabled', json(iif(new.enabled, 'true', 'false')),
                'kill_switch', json(iif(new.kill_switch, 'true', 'false')), 'rollout_percentage', new.rollout_percentage));
end;

create trigger gatekeeper_flags_deleted_by_hand after delete on feature_flags
begin
    insert into security_audit (actor, action, subject, before)
    values ('database', 'flag_changed_by_hand', old.name, json_object(
        'name', old.name, 'enabled', json(iif(old.enabled, 'true', 'false')), 'kill_switch', json(iif(old.kill_switch, 'true', 'false')),
        'rollout_percentage', old.rollout_percentage));
end;

-- Whoever names another mode by hand, or updates a ruling that has ended, makes a new one: an end, a sequel and a reason that were not
-- given with it are those of an earlier one. The sequel is what would hold by then without it; of two that might, denials stand.
create trigger gatekeeper_enforcement_updated_by_hand after update on gatekeeper_enforcement
when new.changed_at is old.changed_at
    and ((new.gate, new.mode, new.until, new.afterwards, new.reason) is not (old.gate, old.mode, old.until, old.afterwards, old.reason)
         or old.until <= strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
begin
    update gatekeeper_enforcement
    set changed_at = max(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000',
                         coalesce(strftime('%Y-%m-%d %H:%M:%f', old.changed_at, '+0.001 seconds') || '000', '')),
        actor = 'database',
        reason = case when new.reason is not old.reason then new.reason end,
        until = case when new.until is not old.until then strftime('%Y-%m-%d %H:%M:%f', new.until) || '000' end,
        afterwards = case
            when new.until is old.until or new.until is null then null
            when new.afterwards is not old.afterwards then new.afterwards
            when old.until is null then old.mode
            when old.until <= strftime('%Y-%m-%d %H:%M:%f', new.until) || '000' then old.afterwards
            when 'enforce' in (old.mode, old.afterwards) then 'enforce'
            else old.afterwards
        end
    where gate = new.gate
      and (new.mode is not old.mode or old.until <= strftime('%Y-%m-%d %H:%M:%f', 'now') || '000');
    update gatekeeper_enforcement
    set changed_at = max(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000',
                         coalesce(strftime('%Y-%m-%d %H:%M:%f', old.changed_at, '+0.001 seconds') || '000', '')),
        actor = 'database',
        until = strftime('%Y-%m-%d %H:%M:%f', new.until) || '000'
    where gate = new.gate and changed_at is old.changed_at;
    insert into security_audit (actor, action, subject, reason, before, after)
    select 'database', 'enforcement_changed_by_hand', gate, reason,
           json_object('gate', old.gate, 'mode', old.mode, 'until', replace(old.until, ' ', 'T') || 'Z', 'afterwards', old.afterwards,
                       'reason', old.reason),
           json_object('gate', gate, 'mode', mode, 'until', replace(until, ' ', 'T') || 'Z', 'afterwards', afterwards, 'reason', reason)
    from gatekeeper_enforcement where gate = new.gate;
end;

create trigger gatekeeper_enforcement_kept before delete on gatekeeper_enforcement
begin
    select raise(abort, 'every gate keeps its row: to have it as the gatekeeper was started, set its mode to null');
end;

create trigger gatekeeper_blocks_inserted_by_hand after insert on gatekeeper_blocks when new.changed_at is null
begin
    update gatekeeper_blocks
    set changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', actor = 'database',
        until = strftime('%Y-%m-%d %H:%M:%f', new.until) || '000'
    where id = new.id;
    insert into security_audit (actor, action, subject, reason, after)
    values ('database', 'block_changed_by_hand', new.subject, new.reason, json_object(
        'id', new.id, 'kind', new.kind, 'subject', new.subject, 'reason', new.reason, 'until', replace(new.until, ' ', 'T') || 'Z'));
end;

create trigger gatekeeper_blocks_updated_by_hand after update on gatekeeper_blocks
when new.changed_at is old.changed_at and new.changed_at is not null
    and (new.id, new.kind, new.subject, new.reason, new.until) is not (old.id, old.kind, old.subject, old.reason, old.until)
begin
    update gatekeeper_blocks
    set changed_at = max(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000',
                         strftime('%Y-%m-%d %H:%M:%f', old.changed_at, '+0.001 seconds') || '000'),
        actor = 'database',
        until = strftime('%Y-%m-%d %H:%M:%f', new.until) || '000'
    where id = new.id;
    insert into security_audit (actor, action, subject, reason, before, after)
    values ('database', 'block_changed_by_hand', new.subject, new.reason,
            json_object('id', old.id, 'kind', old.kind, 'subject', old.subject, 'reason', old.reason,
                        'until', replace(old.until, ' ', 'T') || 'Z'),
            json_object('id', new.id, 'kind', new.kind, 'subject', new.subject, 'reason', new.reason,
                        'until', replace(new.until, ' ', 'T') || 'Z'));
end;

create trigger gatekeeper_blocks_deleted_by_hand after delete on gatekeeper_blocks
begin
    insert into security_audit (actor, action, subject, reason, before)
    values ('database', 'block_changed_by_hand', old.subject, old.reason, json_object(
        'id', old.id, 'kind', old.kind, 'subject', old.subject, 'reason', old.reason, 'until', replace(old.until, ' ', 'T') || 'Z'));
end;
