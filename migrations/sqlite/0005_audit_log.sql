-- The audit log: blocked calls and what operators change, sealed row by row in chains (docs/audit.md). It is added to and nothing else.

-- Nothing is unique here, or a forged row could keep the true one out: numbers are unique in a sealed chain. (A serial that is not given
-- is always a free one.)
create table gatekeeper_audit_log (
    serial   integer not null primary key check (serial >= 0),
    instance text    not null,
    n        integer not null,
    at       text    not null,
    kind     text    not null,
    id       text    not null,
    content  text    not null,
    key      text    not null,
    prev     blob    not null,
    hash     blob    not null
) strict;
create index gatekeeper_audit_log_chains on gatekeeper_audit_log (instance, n, serial);
create index gatekeeper_audit_log_id on gatekeeper_audit_log (id);
create index gatekeeper_audit_log_at on gatekeeper_audit_log (at desc);

create trigger gatekeeper_audit_log_updated before update on gatekeeper_audit_log
begin
    select raise(abort, 'the audit log is only added to: UPDATE is refused');
end;

create trigger gatekeeper_audit_log_deleted before delete on gatekeeper_audit_log
begin
    select raise(abort, 'the audit log is only added to: DELETE is refused');
end;

-- REPLACE passes by the trigger of what it replaces.
create trigger gatekeeper_audit_log_replaced before insert on gatekeeper_audit_log
when new.serial is not -1 and exists (select 1 from gatekeeper_audit_log where serial = new.serial)
begin
    select raise(abort, 'the audit log is only added to: REPLACE is refused');
end;

-- Keys that somebody makes, changes or deletes by hand are audited like other changes by hand. That a key was used is no change.
alter table gatekeeper_keys add column changed_at text;

create trigger gatekeeper_keys_inserted_by_hand after insert on gatekeeper_keys
when new.changed_at is null or new.changed_at not glob '????-??-?? ??:??:??.??????'
begin
    insert into security_audit (actor, action, subject, after)
    values ('database', 'key_changed_by_hand', new.id, json_object(
        'id', new.id, 'name', new.name, 'sources', new.sources, 'targets', new.targets, 'actions', new.actions, 'not_before', new.not_before,
        'expires_at', new.expires_at, 'revoked_at', new.revoked_at, 'hash_begins', lower(substr(hex(new.hash), 1, 12))));
end;

create trigger gatekeeper_keys_updated_by_hand after update on gatekeeper_keys
when (new.changed_at is null or new.changed_at is old.changed_at or new.changed_at not glob '????-??-?? ??:??:??.??????')
    and (old.id, old.name, old.hash, old.sources, old.targets, old.actions, old.not_before, old.expires_at, old.revoked_at)
        is not (new.id, new.name, new.hash, new.sources, new.targets, new.actions, new.not_before, new.expires_at, new.revoked_at)
begin
    insert into security_audit (actor, action, subject, before, after)
    values ('database', 'key_changed_by_hand', new.id, json_object(
        'id', old.id, 'name', old.name, 'sources', old.sources, 'targets', old.targets, 'actions', old.actions, 'not_before', old.not_before,
        'expires_at', old.expires_at, 'revoked_at', old.revoked_at, 'hash_begins', lower(substr(hex(old.hash), 1, 12))), json_object(
        'id', new.id, 'name', new.name, 'sources', new.sources, 'targets', new.targets, 'actions', new.actions, 'not_before', new.not_before,
        'expires_at', new.expires_at, 'revoked_at', new.revoked_at, 'hash_begins', lower(substr(hex(new.hash), 1, 12))));
end;

create trigger gatekeeper_keys_deleted_by_hand after delete on gatekeeper_keys
begin
    insert into security_audit (actor, action, subject, before)
    values ('database', 'key_changed_by_hand', old.id, json_object(
        'id', old.id, 'name', old.name, 'sources', old.sources, 'targets', old.targets, 'actions', old.actions, 'not_before', old.not_before,
        'expires_at', old.expires_at, 'revoked_at', old.revoked_at, 'hash_begins', lower(substr(hex(old.hash), 1, 12))));
end;
