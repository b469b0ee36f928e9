-- A database as the original gatekeeper left it in its first days: the log without mentioned_to_user and updated_at, everything
-- nullable that may be, everybody may read, and rate limits as it wrote them: a row per call, each at its own instant.
create table public.eliza_activity_log (
    id            uuid primary key default gen_random_uuid(),
    activity_type text not null,
    title         text not null,
    description   text,
    metadata      jsonb default '{}',
    status        text default 'completed',
    created_at    timestamp with time zone default now()
);
alter table public.eliza_activity_log enable row level security;
create policy "Anyone can view" on public.eliza_activity_log for select using (true);
create policy "Only the service writes" on public.eliza_activity_log for insert to service_role with check (true);
alter table public.eliza_activity_log replica identity full;
create index idx_activity_by_time on public.eliza_activity_log (created_at desc);
create index idx_activity_by_type on public.eliza_activity_log (activity_type);
create index idx_eliza_activity_gatekeeper on public.eliza_activity_log (activity_type, created_at)
    where activity_type in ('gatekeeper_call', 'gatekeeper_error', 'schema_protection');

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
    created_at        timestamp with time zone not null default now()
);
alter table public.api_call_logs enable row level security;
create policy "Anyone can view" on public.api_call_logs for select using (true);
create index idx_api_calls_by_time on public.api_call_logs (called_at desc);
create index idx_api_calls_by_status on public.api_call_logs (status);

create table public.rate_limits (
    id            uuid primary key default gen_random_uuid(),
    identifier    text not null,
    endpoint      text not null,
    request_count integer not null default 1,
    window_start  timestamp with time zone not null default now(),
    created_at    timestamp with time zone not null default now()
);
alter table public.rate_limits enable row level security;
create policy "Rate limits for all" on public.rate_limits for all using (true);

create view public.eliza_gatekeeper_stats as
select call.source,
       call.target,
       count(*) as total_calls,
       sum((status = 'completed')::integer)::bigint as successful_calls,
       sum((status = 'error')::integer)::bigint as failed_calls,
       avg(call.ms) as avg_duration_ms,
       max(created_at) as last_call_at
from public.eliza_activity_log,
     lateral (select metadata ->> 'source', metadata ->> 'target', nullif(metadata ->> 'execution_time_ms', 'soon')::numeric)
         as call (source, target, ms)
where activity_type = 'gatekeeper_call'
group by call.source, call.target;
grant select on public.eliza_gatekeeper_stats to anon, authenticated, service_role, reporting;

-- What operators built on top of it.
grant select, insert on public.eliza_activity_log to reporting;
create policy "Reporting reads" on public.eliza_activity_log for select to reporting using (activity_type like 'gatekeeper%');
create view public.busiest_pairs with (security_barrier = true) as
select source, target, total_calls from public.eliza_gatekeeper_stats where total_calls > 1;
create view public.recent_activity as select id, title, created_at from public.eliza_activity_log order by created_at desc limit 50;
comment on view public.recent_activity is 'the dashboard reads this';
create view public.recent_titles as select title from public.recent_activity;
grant select on public.recent_titles to reporting;
create materialized view public.errors_by_function as
select function_name, count(*) as errors from public.api_call_logs where status = 'error' group by function_name;
create unique index errors_by_function_name on public.errors_by_function (function_name);

-- Calls of three days ago, of yesterday and of just now; a row whose created_at got lost; something of another program's.
insert into public.eliza_activity_log (activity_type, title, metadata, status, created_at)
select 'gatekeeper_call', 'call', jsonb_build_object('source', 'gemini-chat', 'target', 'python-executor', 'action', 'run',
           'execution_time_ms', ms, 'success', ms < 400), case when ms < 400 then 'completed' else 'error' end, at
from (values (100, now() - interval '3 days'), (200, now() - interval '1 day'), (300, now()), (401.6, now())) as calls (ms, at);
insert into public.eliza_activity_log (activity_type, title, metadata, created_at)
values ('gatekeeper_call', 'without a source', '{"source": null, "target": "agent-manager", "execution_time_ms": "soon", "success": true}', now()),
       ('python_execution', 'of the python executor', '{"purpose": "test"}', now() - interval '40 days'),
       ('task_created', 'lost its time', null, null);
insert into public.api_call_logs (function_name, status, error_message, created_at, called_at)
values ('eliza-gatekeeper', 'success', null, now() - interval '3 days', now() - interval '3 days'),
       ('eliza-gatekeeper', 'error', 'boom', now(), now());
insert into public.rate_limits (identifier, endpoint, window_start)
select 'gemini-chat', 'python-executor:run', date_trunc('minute', now()) + step * interval '0.3 seconds' from generate_series(0, 149) as step;
insert into public.rate_limits (identifier, endpoint, request_count, window_start) values ('123.456.789.0', '/api/mining-proxy', 7, now() - interval '5 minutes');
refresh materialized view public.errors_by_function;
