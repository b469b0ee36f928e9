-- Changes by hand, told better: who names changed_at, or has a trigger that does, has still changed the row by hand. Gatekeepers say in
-- their transactions that they audit what they change (gatekeeper.audits); those before this migration are told by their name.

set local search_path = pg_catalog;
set local client_min_messages = warning;
set local statement_timeout = 0;
set local lock_timeout = '10s';

create or replace function gatekeeper.stamp() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    by_hand boolean := current_setting('gatekeeper.audits', true) is distinct from 'true'
                       and current_setting('application_name') <> 'gatekeeper';
    latest  timestamptz;
begin
    if tg_op = 'INSERT' then
        by_hand := by_hand or new.changed_at is null;
    elsif (select bool_and(to_jsonb(new) -> part = to_jsonb(old) -> part) from unnest(tg_argv[1:]) as part) then
        -- A moment alone says nothing, and least of all its absence.
        if new.changed_at is null then
            new.changed_at := old.changed_at;
        end if;
        return new;
    else
        by_hand := by_hand or new.changed_at is null or new.changed_at is not distinct from old.changed_at;
        latest := old.changed_at;
    end if;
    -- For the audit, which comes when the row is written and can no longer tell.
    perform set_config('gatekeeper.by_hand', by_hand::text, true);
    if by_hand then
        new := jsonb_populate_record(new, jsonb_build_object(
            tg_argv[0], session_user,
            'changed_at', greatest(clock_timestamp(), latest + interval '1 microsecond')
        ));
    end if;
    return new;
end
$$;

create or replace function gatekeeper.rule_anew() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.changed_at is distinct from old.changed_at
        and (current_setting('gatekeeper.audits', true) is not distinct from 'true'
             or current_setting('application_name') = 'gatekeeper')
        or (new.mode, new.until, new.afterwards) is not distinct from (old.mode, old.until, old.afterwards)
        and coalesce(old.until > clock_timestamp(), true)
    then
        return new;
    end if;
    if new.until is not distinct from old.until then
        new.until := null;
    end if;
    if new.until is null then
        new.afterwards := null;
    elsif new.afterwards is not distinct from old.afterwards then
        -- What would hold by then without it. Of two that might, denials stand.
        new.afterwards := case
            when old.until is null then old.mode
            when old.until <= new.until then old.afterwards
            when 'enforce' in (old.mode, old.afterwards) then 'enforce'
            else old.afterwards
        end;
    end if;
    if new.reason is not distinct from old.reason then
        new.reason := null;
    end if;
    return new;
end
$$;

-- A flag is made wherever a target has none yet. Whether an adopted table takes one is tried here, and leaves nothing behind.
do $$
declare
    wrong text;
begin
    begin
        insert into public.feature_flags (name, enabled, kill_switch, rollout_percentage, changed_at, changed_by)
        values ('target:' || md5(random()::text), true, false, 100, clock_timestamp(), 'gatekeeper');
        raise exception using errcode = 'GK001';
    exception
        when sqlstate 'GK001' then
            null;
        when syntax_error_or_access_rule_violation or data_exception or integrity_constraint_violation or raise_exception then
            wrong := sqlerrm;
    end;
    if wrong is not null then
        raise exception 'public.feature_flags takes no new flag: %', wrong
            using hint = 'Give its other columns a default, or rename it: the gatekeeper then makes its own.';
    end if;
end
$$;
