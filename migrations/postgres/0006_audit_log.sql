-- The audit log: blocked calls and what operators change, sealed row by row in chains (docs/audit.md). It is added to and nothing else,
-- by anybody: not even its owner, unless the trigger is disabled first.

set local search_path = pg_catalog;
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

-- Nothing is unique here, or a forged row could keep the true one out: numbers are unique in a sealed chain.
create table gatekeeper.audit_log (
    serial   bigint      generated always as identity,
    instance uuid        not null,
    n        bigint      not null,
    at       timestamptz not null,
    kind     text        not null,
    id       uuid        not null,
    content  text        not null,
    key      text        not null,
    prev     bytea       not null,
    hash     bytea       not null
);
create index audit_log_chains on gatekeeper.audit_log (instance, n, serial);
create index audit_log_id on gatekeeper.audit_log (id);
create index audit_log_at on gatekeeper.audit_log (at desc);

create function gatekeeper.keep_audit_log() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'the audit log is only added to: % is refused', tg_op using errcode = 'insufficient_privilege';
end
$$;

-- For statements, so that those that change no row are refused too; always, so that a session that replays a replica's changes is no way around.
create trigger gatekeeper_kept before update or delete or truncate on gatekeeper.audit_log
    for each statement execute function gatekeeper.keep_audit_log();
alter table gatekeeper.audit_log enable always trigger gatekeeper_kept;

alter table gatekeeper.audit_log enable row level security;
revoke all on function gatekeeper.keep_audit_log from public;

-- Keys that somebody makes, changes or deletes by hand are audited like other changes by hand. That a key was used is no change.
create function gatekeeper.say_key(key gatekeeper.keys) returns jsonb
    language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select to_jsonb(key) - 'hash' - 'last_used_at' || jsonb_build_object('hash_begins', left(encode(key.hash, 'hex'), 12))
$$;

create function gatekeeper.audit_keys() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC'
as $$
declare
    was    jsonb;
    became jsonb;
begin
    if tg_op in ('UPDATE', 'DELETE') then
        was := gatekeeper.say_key(old);
    elsif tg_op = 'TRUNCATE' then
        select jsonb_agg(gatekeeper.say_key(k)) into was from gatekeeper.keys k;
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        became := gatekeeper.say_key(new);
        if current_setting('gatekeeper.audits', true) is not distinct from 'true' then
            return null;
        end if;
    end if;
    if became is not distinct from was then
        return null;
    end if;
    -- A key must be endable, even where the audit does not work.
    begin
        insert into public.security_audit (id, created_at, actor, action, subject, reason, before, after)
        values (gen_random_uuid(), clock_timestamp(), session_user, 'key_changed_by_hand',
                coalesce(became ->> 'id', was ->> 'id', 'all of keys'), null, was, became);
    exception when others then
        raise warning 'a change of % is not in the audit: %', tg_table_name, sqlerrm;
    end;
    return null;
end
$$;
revoke all on function gatekeeper.say_key, gatekeeper.audit_keys from public;

create trigger keys_audited after insert or update or delete on gatekeeper.keys
    for each row execute function gatekeeper.audit_keys();
create trigger keys_audited_truncated before truncate on gatekeeper.keys
    for each statement execute function gatekeeper.audit_keys();

select gatekeeper.close_to_all(array['gatekeeper.audit_log']::regclass[]);
