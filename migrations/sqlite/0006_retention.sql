-- Where older rows of the logs lie that policy keeps colder. What the logs are, but for rules about new rows.

create table eliza_activity_log_archive (
    id                text not null,
    activity_type     text,
    title             text,
    description       text,
    metadata          text,
    status            text,
    mentioned_to_user boolean,
    created_at        text not null,
    updated_at        text,
    instance          text,
    seq               integer,
    primary key (id, created_at)
);
create index eliza_activity_log_archive_created_at on eliza_activity_log_archive (created_at desc);
create index eliza_activity_log_archive_activity_type on eliza_activity_log_archive (activity_type, created_at);

create table api_call_logs_archive (
    id                text not null,
    function_name     text,
    called_at         text,
    execution_time_ms integer,
    status            text,
    error_message     text,
    request_payload   text,
    response_data     text,
    caller_context    text,
    created_at        text not null,
    primary key (created_at, id)
);
