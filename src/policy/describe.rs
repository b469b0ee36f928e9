//! The compiled policy as operators would write it, for whoever asks what is in force: names, notations and places, never a secret.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::values::{in_words, size_in_words};
use super::{
    Allowance, BodyShape, Counted, Credentials, Fail, Inspect, ObjectPattern, Policy, RuleSetting, SchemaPolicy, Shown, Source,
    SqlException, SqlPattern, SqlPolicy, Target,
};
use crate::blocklist::{Block, Subject};
use crate::call::Path;
use crate::clock::Timestamp;
use crate::identity::{Action, NamePattern, Place};
use crate::journal::Syncing;
use crate::retention::{Age, Archive, Keep, Only, OnlyValue, Scheduled, TableKeep};
use crate::sql::Backslashes;
use crate::sql::rules::Tier;

pub fn describe(policy: &Policy) -> Value {
    let Policy { fingerprint, sources, targets, limits, sql, schema, blocks, body, journal, retention, cors, warnings, secrets } = policy;
    // Single names are found by lookup; of patterns the first that matches counts, so their order says something.
    let mut named: Vec<&Source> = sources.named.values().map(AsRef::as_ref).collect();
    named.sort_by_key(|source| source.pattern.as_str());
    let mut listed: Vec<&Target> = targets.by_name.values().map(AsRef::as_ref).collect();
    listed.sort_by_key(|target| target.name.as_str());
    json!({
        "fingerprint": fingerprint.as_ref(),
        "sources": named.into_iter().chain(sources.patterns.iter().map(AsRef::as_ref)).map(source).collect::<Vec<_>>(),
        "targets": listed.into_iter().map(target).collect::<Vec<_>>(),
        "limits": {
            "endpoints_per_source": limits.endpoints_per_source,
            "buckets": limits.buckets,
            "stranger_records_per_minute": limits.stranger_records_per_minute,
        },
        "sql": of_sql(sql),
        "schema": of_schema(schema),
        "blocks": blocks.iter().map(block).collect::<Vec<_>>(),
        "body": {
            "max": size_in_words(u64::try_from(body.max_bytes).unwrap_or(u64::MAX)),
            "read_timeout": in_words(body.read_timeout),
            "max_hops": body.max_hops,
        },
        "journal": {
            "sync": match journal.syncing {
                Syncing::Os => "os".to_owned(),
                Syncing::Always => "always".to_owned(),
                Syncing::Interval(interval) => in_words(interval),
            },
            "size": size_in_words(journal.limits.bytes),
            "when_full": journal.when_full.as_str(),
        },
        "retention": of_retention(retention),
        "cors": { "origins": cors.origins },
        "secrets": secrets,
        "warnings": warnings,
    })
}

fn of_retention(keep: &Keep) -> Value {
    let Keep { activity, api_calls, rate_limits, tables } = keep;
    json!({
        "activity": age(activity.here),
        "activity_archive": archive(activity.archive),
        "api_calls": age(api_calls.here),
        "api_calls_archive": archive(api_calls.archive),
        "rate_limits": in_words(*rate_limits),
        "tables": tables.iter().map(table).collect::<Vec<_>>(),
    })
}

fn table(kept: &TableKeep) -> Value {
    let TableKeep { table, by, only, span, scheduled } = kept;
    let only: serde_json::Map<_, _> = only
        .iter()
        .map(|Only { column, values }| {
            let values = values.iter().map(|value| match value {
                OnlyValue::Is(is) => json!(is),
                OnlyValue::Number(number) => json!(number),
                OnlyValue::Text(text) => json!(text),
            });
            (column.clone(), values.collect())
        })
        .collect();
    json!({
        "name": table,
        "by": by,
        "keep": age(span.here),
        "archive": archive(span.archive),
        "only": only,
        "scheduled": *scheduled == Scheduled::Daily,
    })
}

fn age(age: Age) -> String {
    match age {
        Age::Days(age) => in_words(age),
        Age::Forever => "forever".into(),
    }
}

fn archive(archive: Archive) -> String {
    match archive {
        Archive::None => "off".into(),
        Archive::Until(until) => age(until),
    }
}

fn source(source: &Source) -> Value {
    let overrides = source.overrides.iter().map(|own| json!({ "endpoint": own.endpoint, "allowance": allowance(&own.allowance) }));
    json!({
        "name": source.pattern.as_str(),
        "together": source.counted == Counted::Together,
        "certificates": source.certificates.as_ref().map(|known| known.names.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "require_certificate": source.needs_certificate(),
        "total": allowance(&source.total),
        "endpoint": allowance(&source.endpoint),
        "overrides": overrides.collect::<Vec<_>>(),
        "place": source.place.as_str(),
    })
}

fn allowance(allowance: &Allowance) -> Value {
    let windows = allowance.windows.iter().map(|window| format!("{}/{}", window.limit, in_words(Duration::from_secs(window.secs.into()))));
    let burst = allowance.burst.map_or_else(|| "off".to_owned(), |burst| format!("{} then {}/s", burst.size, burst.per_second));
    json!({
        "limit": windows.collect::<Vec<_>>(),
        "burst": burst,
        "place": allowance.place.as_str(),
        "burst_place": allowance.burst_place.as_str(),
    })
}

fn target(target: &Target) -> Value {
    let shape = match target.shape {
        BodyShape::Payload => "payload",
        BodyShape::ActionData => "action-data",
        BodyShape::Envelope => "envelope",
    };
    // What is sent, which is nothing while a variable is not set.
    let credentials = match &target.credentials {
        _ if target.pass_authorization => "pass",
        Credentials::None => "none",
        Credentials::ServiceRole(_) => "service-role",
        Credentials::Bearer(_) => "bearer",
    };
    let trust = &target.link.trust;
    json!({
        "name": target.name.as_str(),
        "url": target.url.as_ref().map(address),
        "health": target.health.as_ref().map(address),
        "shape": shape,
        "inspect": match target.inspect {
            Inspect::Required => "required",
            Inspect::Skip => "skip",
        },
        "defaults": target.defaults,
        "timeout": in_words(target.timeout),
        "idle_timeout": in_words(target.idle_timeout),
        "credentials": credentials,
        "callers": if target.callers.is_empty() { vec!["*"] } else { patterns(&target.callers) },
        "breaker": { "failures": target.breaker.failures, "open": in_words(target.breaker.open_for) },
        "protocol": target.link.protocol.as_str(),
        "ca": trust.ca.as_ref().map(|ca| ca.file.display().to_string()),
        "client_cert": trust.client.as_ref().map(|client| client.certificate.display().to_string()),
        "server_name": trust.server_name.as_ref().map(ServerName::to_str),
        "place": target.place.as_str(),
    })
}

/// Without user and password, which no address of a target has.
fn address(uri: &Uri) -> String {
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default(), uri.path())
}

fn of_sql(sql: &SqlPolicy) -> Value {
    let SqlPolicy { fields, shown, backslashes, rules, patterns: own, exceptions } = sql;
    let code = fields.code.iter().map(|code| json!({ "path": code.path.as_str(), "targets": unless_empty(&code.targets) }));
    json!({
        "fields": fields.sql,
        "prose": fields.prose.iter().map(Path::as_str).collect::<Vec<_>>(),
        "code": code.collect::<Vec<_>>(),
        "literals": match shown {
            Shown::Masked => "mask",
            Shown::Kept => "keep",
        },
        "standard_conforming_strings": match backslashes {
            Backslashes::Plain => "on",
            Backslashes::Both => "unknown",
        },
        "rules": rules.iter().map(rule).collect::<Vec<_>>(),
        "patterns": own.iter().map(pattern).collect::<Vec<_>>(),
        "exceptions": exceptions.iter().map(exception).collect::<Vec<_>>(),
    })
}

fn rule(setting: &RuleSetting) -> Value {
    let tier = match setting.rule.tier {
        Tier::Core => "core",
        Tier::Extended => "extended",
    };
    let overrides = setting.overrides.iter().map(|own| {
        json!({
            "mode": own.mode.as_str(),
            "sources": unless_empty(&own.reach.sources),
            "targets": unless_empty(&own.reach.targets),
            "reason": own.reason,
            "place": own.place.as_str(),
        })
    });
    json!({
        "id": setting.rule.id,
        "tier": tier,
        "mode": setting.mode.as_str(),
        "refuses": setting.rule.refuses,
        "pattern": setting.rule.pattern,
        "overrides": overrides.collect::<Vec<_>>(),
        "place": setting.place.as_ref().map(Place::as_str),
    })
}

fn pattern(pattern: &SqlPattern) -> Value {
    json!({
        "id": pattern.id,
        "mode": pattern.mode.as_str(),
        "regex": pattern.regex.as_str(),
        "why": pattern.why,
        "sources": unless_empty(&pattern.reach.sources),
        "targets": unless_empty(&pattern.reach.targets),
        "place": pattern.place.as_str(),
    })
}

fn of_schema(schema: &SchemaPolicy) -> Value {
    let named = |target: &Option<Arc<Target>>| target.as_ref().map_or("off", |target| target.name.as_str()).to_owned();
    json!({
        "validator": named(&schema.validator),
        "action": schema.action.as_str(),
        "timeout": in_words(schema.timeout),
        "fail": match schema.fail {
            Fail::Open => "open",
            Fail::Closed => "closed",
            Fail::ClosedForDdl => "closed-for-ddl",
        },
        "fail_place": schema.fail_place.as_str(),
        "operations": schema.operations,
        "actions": schema.actions.iter().map(Action::as_str).collect::<Vec<_>>(),
        "fixer": named(&schema.fixer),
        "fix_cooldown": in_words(schema.fix_cooldown),
        "place": schema.place.as_str(),
    })
}

fn exception(exception: &SqlException) -> Value {
    json!({
        "rules": exception.rules,
        "sources": unless_empty(&exception.reach.sources),
        "targets": unless_empty(&exception.reach.targets),
        "objects": (!exception.objects.is_empty()).then(|| exception.objects.iter().map(ObjectPattern::as_str).collect::<Vec<_>>()),
        "statements": (!exception.statements.is_empty()).then(|| exception.statements.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "reason": exception.reason,
        "by": exception.by,
        "until": moment(exception.until),
        "place": exception.place.as_str(),
    })
}

fn block(block: &Block) -> Value {
    json!({
        "kind": match block.subject {
            Subject::Network(_) => "network",
            Subject::Source(_) => "source",
        },
        "subject": block.subject.text(),
        "reason": block.reason,
        "until": moment(block.until),
        "place": block.place.as_str(),
    })
}

fn moment(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

fn patterns(patterns: &[NamePattern]) -> Vec<&str> {
    patterns.iter().map(NamePattern::as_str).collect()
}

/// Nothing, where it is for whoever calls, or whatever is called.
fn unless_empty(list: &[NamePattern]) -> Option<Vec<&str>> {
    (!list.is_empty()).then(|| patterns(list))
}
