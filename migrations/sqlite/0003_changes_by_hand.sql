-- Changes by hand, told better. A note on a ruling that has ended is no new ruling; REPLACE, which passes by the triggers of what it
-- replaces, is heard of and audited; and who names changed_at has still changed the row by hand: gatekeepers write moments of 26
-- characters, to the microsecond, and whatever else stands there was somebody's own. Dates are kept in the form that gatekeepers read.

drop trigger gatekeeper_flags_inserted;
drop trigger gatekeeper_flags_inserted_by_hand;
drop trigger gatekeeper_flags_updated_by_hand;
drop trigger gatekeeper_enforcement_updated_by_hand;
drop trigger gatekeeper_blocks_inserted_by_hand;
drop trigger gatekeeper_blocks_updated_by_hand;

-- A flag that is on for everybody is no news when it comes, unless it may have taken the place of one that was not.
create trigger gatekeeper_flags_inserted after insert on feature_flags
when not new.enabled or new.kill_switch or new.rollout_percentage < 100
    or new.changed_at is null or new.changed_at not glob '????-??-?? ??:??:??.??????'
begin
    insert into gatekeeper_signals (kind) values ('flags_changed');
end;

create trigger gatekeeper_flags_inserted_by_hand after insert on feature_flags
when new.changed_at is null or new.changed_at not glob '????-??-?? ??:??:??.??????'
begin
    update feature_flags set changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', changed_by = 'database' where name = new.name;
    insert into security_audit (actor, action, subject, after)
    values ('database', 'flag_changed_by_hand', new.name, json_object(
        'name', new.name, 'enabled', json(iif(new.enabled, 'true', 'false')), 'kill_switch', json(iif(new.kill_switch, 'true', 'false')),
        'rollout_percentage', new.rollout_percentage));
end;

create trigger gatekeeper_flags_updated_by_hand after update on feature_flags
when (new.changed_at is null or new.changed_at is old.changed_at or new.changed_at not glob '????-??-?? ??:??:??.??????')
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

-- What a statement names is known only before the row is changed, so it is noted here until afterwards. Empty between statements.
create table gatekeeper_modes_named (
    gate text not null primary key
) without rowid;

create trigger gatekeeper_enforcement_named before update of mode on gatekeeper_enforcement
when new.changed_at is null or new.changed_at is old.changed_at or new.changed_at not glob '????-??-?? ??:??:??.??????'
begin
    insert into gatekeeper_modes_named (gate) select new.gate
    where not exists (select 1 from gatekeeper_modes_named where gate = new.gate);
end;

-- Whoever names a mode by hand makes a new ruling: an end, a sequel and a reason that were not given with it are those of an earlier one.
-- The sequel is what would hold by then without it; of two that might, denials stand. Whatever else is changed leaves the ruling as it is.
create trigger gatekeeper_enforcement_updated_by_hand after update on gatekeeper_enforcement
when new.changed_at is null or new.changed_at is old.changed_at or new.changed_at not glob '????-??-?? ??:??:??.??????'
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
      and exists (select 1 from gatekeeper_modes_named as named where named.gate = new.gate)
      and ((new.mode, new.until, new.afterwards) is not (old.mode, old.until, old.afterwards)
           or old.until <= strftime('%Y-%m-%d %H:%M:%f', 'now') || '000');
    update gatekeeper_enforcement
    set changed_at = max(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000',
                         coalesce(strftime('%Y-%m-%d %H:%M:%f', old.changed_at, '+0.001 seconds') || '000', '')),
        actor = 'database',
        until = strftime('%Y-%m-%d %H:%M:%f', new.until) || '000'
    where gate = new.gate and changed_at is new.changed_at
      and (new.gate, new.mode, new.until, new.afterwards, new.reason) is not (old.gate, old.mode, old.until, old.afterwards, old.reason);
    insert into security_audit (actor, action, subject, reason, before, after)
    select 'database', 'enforcement_changed_by_hand', gate, reason,
           json_object('gate', old.gate, 'mode', old.mode, 'until', replace(old.until, ' ', 'T') || 'Z', 'afterwards', old.afterwards,
                       'reason', old.reason),
           json_object('gate', gate, 'mode', mode, 'until', replace(until, ' ', 'T') || 'Z', 'afterwards', afterwards, 'reason', reason)
    from gatekeeper_enforcement where gate = new.gate and changed_at is not new.changed_at;
    -- A moment alone says nothing.
    update gatekeeper_enforcement set changed_at = coalesce(old.changed_at, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')
    where gate = new.gate and changed_at is new.changed_at and new.changed_at is not old.changed_at;
    delete from gatekeeper_modes_named where gate = new.gate;
end;

-- Every gate has its row, so one that comes has taken its place.
create trigger gatekeeper_enforcement_replaced_by_hand after insert on gatekeeper_enforcement
when new.changed_at is null or new.changed_at not glob '????-??-?? ??:??:??.??????'
begin
    update gatekeeper_enforcement
    set changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now', '+0.001 seconds') || '000',
        actor = 'database',
        until = strftime('%Y-%m-%d %H:%M:%f', new.until) || '000'
    where gate = new.gate;
    insert into gatekeeper_signals (kind) values ('enforcement_changed');
    insert into security_audit (actor, action, subject, reason, after)
    select 'database', 'enforcement_changed_by_hand', gate, reason,
           json_object('gate', gate, 'mode', mode, 'until', replace(until, ' ', 'T') || 'Z', 'afterwards', afterwards, 'reason', reason)
    from gatekeeper_enforcement where gate = new.gate;
end;

create trigger gatekeeper_blocks_inserted_by_hand after insert on gatekeeper_blocks
when new.changed_at is null or new.changed_at not glob '????-??-?? ??:??:??.??????'
begin
    update gatekeeper_blocks
    set changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', actor = 'database',
        created_at = strftime('%Y-%m-%d %H:%M:%f', new.created_at) || '000',
        until = strftime('%Y-%m-%d %H:%M:%f', new.until) || '000'
    where id = new.id;
    insert into security_audit (actor, action, subject, reason, after)
    select 'database', 'block_changed_by_hand', subject, reason, json_object(
        'id', id, 'kind', kind, 'subject', subject, 'reason', reason, 'until', replace(until, ' ', 'T') || 'Z')
    from gatekeeper_blocks where id = new.id;
end;

create trigger gatekeeper_blocks_updated_by_hand after update on gatekeeper_blocks
when (new.changed_at is null or new.changed_at is old.changed_at or new.changed_at not glob '????-??-?? ??:??:??.??????')
    and (new.id, new.kind, new.subject, new.reason, new.until) is not (old.id, old.kind, old.subject, old.reason, old.until)
begin
    update gatekeeper_blocks
    set changed_at = max(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000',
                         coalesce(strftime('%Y-%m-%d %H:%M:%f', old.changed_at, '+0.001 seconds') || '000', '')),
        actor = 'database',
        until = strftime('%Y-%m-%d %H:%M:%f', new.until) || '000'
    where id = new.id;
    insert into security_audit (actor, action, subject, reason, before, after)
    select 'database', 'block_changed_by_hand', subject, reason,
           json_object('id', old.id, 'kind', old.kind, 'subject', old.subject, 'reason', old.reason,
                       'until', replace(old.until, ' ', 'T') || 'Z'),
           json_object('id', id, 'kind', kind, 'subject', subject, 'reason', reason, 'until', replace(until, ' ', 'T') || 'Z')
    from gatekeeper_blocks where id = new.id;
end;

create trigger gatekeeper_blocks_dated_by_hand after update of created_at on gatekeeper_blocks
when new.created_at is not old.created_at and new.created_at not glob '????-??-?? ??:??:??.??????'
begin
    update gatekeeper_blocks set created_at = strftime('%Y-%m-%d %H:%M:%f', new.created_at) || '000' where id = new.id;
end;

-- What was dated in another form so far.
update gatekeeper_blocks set created_at = strftime('%Y-%m-%d %H:%M:%f', created_at) || '000'
where created_at not glob '????-??-?? ??:??:??.??????'
   or substr(created_at, 1, 10) is not strftime('%Y-%m-%d', created_at);
