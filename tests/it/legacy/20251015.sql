-- A database that the original's later migration made from nothing: with mentioned_to_user, updated_at and the trigger that
-- keeps it, rate limits with their unique key, the stats view with its invoker's rights.
create function public.note_the_change() returns trigger language plpgsql as
$$
begin
    new.updated_at := now();
    return new;
end
$$;

create table public.eliza_activity_log (
    id                uuid primary key default gen_random_uuid(),
    activity_type     text not null,
    title             text not null,
    description       text,
    status            text not null default 'completed',
    metadata          jsonb default '{}'::jsonb,
    mentioned_to_user boolean default false,
    created_at        timestamp with time zone default now(),
    updated_at        timestamp with time zone default now()
);
alter table public.eliza_activity_log enable row level security;
create policy "Anyone can view" on public.eliza_activity_log for select using (true);
create policy "The service manages" on public.eliza_activity_log for all using (current_user = 'service_role');
create index idx_activity_by_time on public.eliza_activity_log (created_at desc);
create index idx_activity_by_type on public.eliza_activity_log (activity_type);
create index idx_activity_to_mention on public.eliza_activity_log (mentioned_to_user) where mentioned_to_user = false;
create trigger activity_updated_at before update on public.eliza_activity_log
    for each row execute function public.note_the_change();
create publication supabase_realtime for table public.eliza_activity_log;

create table public.api_call_logs (
    id                uuid primary key default gen_random_uuid(),
    function_name     text not null,
    called_at         timestamp with time zone not null default now(),
    execution_time_ms integer,
    status            text not null check (status in ('success', 'error', 'timeout', 'pending')),
    error_message     text,
    request_payload   jsonb,
    response_data     jsonb,
    caller_context    jsonb,
    created_at        timestamp with time zone not null default now(),
    region            text
);

create table public.rate_limits (
    id            uuid primary key default gen_random_uuid(),
    identifier    text not null,
    endpoint      text not null,
    request_count integer not null default 1,
    window_start  timestamp with time zone not null default now(),
    created_at    timestamp with time zone not null default now(),
    unique (identifier, endpoint, window_start)
);

create view public.eliza_gatekeeper_stats with (security_invoker = true) as
select call.source,
       call.target,
       count(*) as total_calls,
       sum((status = 'completed')::integer)::bigint as successful_calls,
       sum((status = 'error')::integer)::bigint as failed_calls,
       avg(call.ms) as avg_duration_ms,
       max(created_at) as last_call_at
from public.eliza_activity_log,
     lateral (select metadata ->> 'source', metadata ->> 'target', (metadata ->> 'execution_time_ms')::numeric)
         as call (source, target, ms)
where activity_type = 'gatekeeper_call'
group by call.source, call.target;

insert into public.eliza_activity_log (activity_type, title, metadata, created_at)
values ('gatekeeper_call', 'yesterday', '{"source": "lovable-chat", "target": "deepseek-chat", "execution_time_ms": 40, "success": true}', now() - interval '1 day'),
       ('gatekeeper_call', 'today', '{"source": "lovable-chat", "target": "deepseek-chat", "execution_time_ms": 60, "success": true}', now());
insert into public.api_call_logs (function_name, status, region) values ('eliza-gatekeeper', 'success', 'eu');
insert into public.rate_limits (identifier, endpoint, window_start)
select 'lovable-chat', 'deepseek-chat:undefined', date_trunc('minute', now()) + step * interval '1 second' from generate_series(0, 9) as step;
