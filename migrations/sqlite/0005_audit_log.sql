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
