//! What operators rely on without having written anything: the shipped policies are complete, as the original had them,
//! and work as they are; so do the presets, the examples in their comments, and the policy for measurements.

use std::time::Duration;

use eliza_gatekeeper::call::Path;
use eliza_gatekeeper::policy::Counted;
use eliza_gatekeeper::policy::load::Origin;
use eliza_gatekeeper::policy::{BodyShape, Credentials, Fail, Mode, Shown};
use eliza_gatekeeper::retention::{Age, Archive, Keep, Scheduled, Span};
use eliza_gatekeeper::sql::Backslashes;
use eliza_gatekeeper::sql::rules::{RULES, Tier};

use super::{Given, files_of, given, listed, root, shipped_with, shown, source};

#[test]
fn the_shipped_policies_list_what_the_original_knew() {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    assert_eq!(policy.warnings, Vec::<String>::new());
    assert_eq!((policy.sources.named.len(), policy.sources.patterns.len()), (29 + 1, 1));
    assert_eq!(policy.sources.patterns[0].counted, Counted::Together, "inventing names gains nothing");
    assert_eq!(policy.targets.by_name.len(), 33 + 1);
    for name in policy.sources.named.keys().filter(|name| &***name != "superduper-router") {
        assert!(policy.targets.find(name).is_some(), "{name} was source and target");
        let autonomous = name.contains("autonomous") || name.contains("monitor");
        let expected = if autonomous { "1000/60s, burst 1000+200/s" } else { "500/60s, burst 500+100/s" };
        let source = source(&policy, name);
        assert_eq!((shown(&source.total), shown(&source.endpoint)), (expected.to_owned(), expected.to_owned()), "{name}");
    }
    for name in
        ["monitor-device-connections", "issue-engagement-command", "validate-pop-event", "aggregate-device-metrics", "superduper-router"]
    {
        assert!(policy.targets.find(name).is_some(), "{name}");
    }
    assert_eq!(shown(&source(&policy, "superduper-router").total), "100/60s, burst 100+20/s");
    assert!(!listed(&policy, "edge-function"));
}

#[test]
fn the_shipped_settings_are_those_the_readme_states() {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    assert_eq!((policy.body.max_bytes, policy.body.read_timeout, policy.body.max_hops), (10 << 20, Duration::from_secs(30), 8));
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let log = Span { here: Age::Days(days(30)), archive: Archive::Until(Age::Days(days(90))) };
    let Keep { activity, api_calls, rate_limits, tables } = &policy.retention;
    assert_eq!((*activity, *api_calls, *rate_limits), (log, log, days(30)));
    // The runbook's monthly cleaning: by hand, and never of the audit.
    let told: Vec<_> = tables.iter().map(|kept| (kept.table.as_str(), kept.by.as_str(), kept.span, kept.scheduled)).collect();
    let archived = Span { here: Age::Days(days(90)), archive: Archive::Until(Age::Forever) };
    let expected = [
        ("webhook_logs", "created_at", Span::of(days(30)), Scheduled::ByHand),
        ("conversation_sessions", "updated_at", Span::of(days(90)), Scheduled::ByHand),
        ("ops_mission_steps", "updated_at", archived, Scheduled::ByHand),
    ];
    assert_eq!(told, expected);
    assert_eq!(policy.cors.origins, ["*"]);
    let limits = &policy.limits;
    assert_eq!((limits.endpoints_per_source, limits.buckets, limits.stranger_records_per_minute), (64, 100_000, 100));
    assert_eq!(limits.window_lengths, [60]);
    let fields = &policy.sql.fields;
    assert_eq!(fields.sql, ["operation", "sql", "query"]);
    assert_eq!(
        fields.prose.iter().map(Path::as_str).collect::<Vec<_>>(),
        ["messages[].content", "prompt", "userinput", "description", "title"]
    );
    let code: Vec<_> = fields.code.iter().map(|code| (code.path.as_str(), code.targets[0].as_str())).collect();
    assert_eq!(code, [("payload.code", "python-executor")]);
    assert_eq!((policy.sql.shown, policy.sql.backslashes), (Shown::Masked, Backslashes::Plain));
    let target = policy.targets.find("gemini-chat").unwrap();
    assert_eq!(target.sites[0].url, "https://project.supabase.co/functions/v1/gemini-chat");
    assert_eq!((target.timeout, target.idle_timeout), (Duration::from_secs(150), Duration::from_secs(60)));
    assert_eq!((target.breaker.failures.get(), target.breaker.open_for), (10, Duration::from_secs(5)));
    assert!(matches!(&target.credentials, Credentials::ServiceRole(key) if key.reveal() == "service-role-key"));
    assert!(!target.pass_authorization && target.admits("openai-tts"));
}

#[test]
fn bodies_have_the_shape_each_target_reads() {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    let action_data = ["agent-manager", "github-integration", "knowledge-manager", "schema-manager", "task-orchestrator"];
    for (name, target) in &policy.targets.by_name {
        let expected = if action_data.contains(&name.as_ref()) { BodyShape::ActionData } else { BodyShape::Payload };
        assert_eq!(target.shape, expected, "{name}");
        assert_eq!(target.defaults.is_empty(), name.as_ref() != "agent-manager", "{name}");
    }
    assert_eq!(policy.targets.find("agent-manager").unwrap().defaults["autonomous"], true);
}

#[test]
fn every_rule_is_listed_once_with_what_it_refuses_and_enforced_unless_migrations_need_it() {
    const OBSERVED: [&str; 2] = ["drop-trigger", "change-role"];
    let text = std::fs::read_to_string(root().join("policies/sql.toml")).unwrap();
    let (_, table) = text.split_once("[sql.rules]\n").unwrap();
    let mut tier = "";
    let mut listed = Vec::new();
    for line in table.lines() {
        match line.strip_prefix("# ") {
            Some(heading) => tier = heading.split(':').next().unwrap(),
            None => {
                let (setting, refuses) = line.split_once('#').unwrap();
                let (id, mode) = setting.split_once('=').unwrap();
                listed.push([tier, id.trim(), mode.trim(), refuses.trim()].map(str::to_owned));
            }
        }
    }
    let expected = RULES.map(|rule| {
        let (tier, mode) = match rule.tier {
            Tier::Core => ("Core", "\"enforce\""),
            Tier::Extended if OBSERVED.contains(&rule.id) => ("Observed", "\"observe\""),
            Tier::Extended => ("Extended", "\"enforce\""),
        };
        [tier, rule.id, mode, &rule.refuses.replace('…', "...")].map(str::to_owned)
    });
    // In the file all of a tier stand together.
    let of = |tier: &str| expected.iter().filter(|rule| rule[0] == tier).cloned().collect::<Vec<_>>();
    assert_eq!(listed, ["Core", "Extended", "Observed"].map(of).concat());
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    assert!(
        policy
            .sql
            .rules
            .iter()
            .all(|setting| (setting.mode == Mode::Observe) == OBSERVED.contains(&setting.rule.id) && setting.overrides.is_empty())
    );
}

#[test]
fn the_shipped_validator_is_asked_before_ddl() {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    let schema = &policy.schema;
    let named = [&schema.validator, &schema.fixer].map(|target| target.as_ref().unwrap().name.as_str().to_owned());
    assert_eq!(named, ["schema-manager", "autonomous-code-fixer"]);
    assert_eq!((schema.timeout, schema.fix_cooldown, schema.fail), (Duration::from_secs(5), Duration::from_secs(600), Fail::ClosedForDdl));
}

#[test]
fn a_copy_of_the_shipped_policies_decides_alike() {
    let copy = shipped_with(&[]);
    let (copied, shipped) = (copy.load().unwrap(), copy.load_from(&Origin::Shipped).unwrap());
    assert_eq!(copied.fingerprint, shipped.fingerprint);
    assert_eq!(copied.fingerprint.len(), 64);
    let changed = shipped_with(&[("service.toml", "[body]\nmax = \"1MiB\"\n")]).load().unwrap();
    assert_ne!(changed.fingerprint, shipped.fingerprint);
}

#[test]
fn the_examples_in_the_shipped_files_work_when_they_are_uncommented() {
    for (name, text) in files_of(&root().join("policies")) {
        let examples: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
        let uncommented = format!("{text}\n{}\n", examples.join("\n"));
        assert_eq!(shipped_with(&[(name.as_str(), &uncommented)]).problems(), Vec::<String>::new(), "{name}");
        assert_eq!(examples.is_empty(), ["schema.toml", "service.toml"].contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_readme_explains_every_key() {
    let readme = std::fs::read_to_string(root().join("policies/README.md")).unwrap();
    let lists = ["[source]", "[target]", "[override]", "[block]", "[sql.code]", "[rule]", "[pattern]", "[exception]", "[table]"];
    let sections = lists.into_iter().chain(["tiers.x", "limits", "target_defaults", "sql", "schema", "body", "retention", "cors"]);
    for section in sections {
        let asked = given([("p.toml", format!("[{section}]\nasked = 1\n").as_str())]).problems();
        let known = asked.iter().find_map(|problem| problem.split_once("unknown key `asked`, expected ")).unwrap().1;
        let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(!keys.is_empty(), "{asked:?}");
        for key in keys {
            assert!(readme.contains(&format!("`{key}`")), "{section}: `{key}`");
        }
    }
}

#[test]
fn every_preset_works_in_place_of_the_file_it_names() {
    let presets = files_of(&root().join("policies/presets"));
    assert!(!presets.is_empty());
    for (name, text) in presets {
        assert_eq!(shipped_with(&[("limits.toml", &text)]).problems(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn preset_ops_002_holds_two_windows_at_once() {
    let preset = std::fs::read_to_string(root().join("policies/presets/ops-002.toml")).unwrap();
    let policy = shipped_with(&[("limits.toml", &preset)]).load().unwrap();
    let source = source(&policy, "superduper-router");
    assert_eq!(shown(&source.endpoint), "60/60s 1000/3600s, burst 60+12/s");
    assert_eq!(shown(&source.total), shown(&source.endpoint));
    assert_eq!(policy.limits.window_lengths, [60, 3600]);
}

#[test]
fn the_policy_for_measurements_refuses_nothing_but_the_source_that_is_there_to_be_refused() {
    let nothing_set = Given { service_role: None, ..given([]).without("SUPABASE_URL") };
    let policy = nothing_set.load_from(&Origin::Directory(root().join("benches/peers/policies"))).unwrap();
    assert_eq!(policy.warnings, Vec::<String>::new());
    assert_eq!(policy.sources.named.len(), 9);
    for agent in 0..8 {
        let total = &source(&policy, &format!("agent-{agent}")).total;
        assert!(total.burst.is_none() && total.windows[0].limit > 1_000_000_000);
    }
    assert_eq!(shown(&source(&policy, "spent").total).split(',').next(), Some("1/86400s"));
    let target = policy.targets.find("brain").unwrap();
    assert_eq!(target.sites[0].url, "http://127.0.0.1:18080/t/brain");
    assert!(matches!(target.credentials, Credentials::None));
}

#[test]
fn an_archive_that_is_no_longer_than_its_log_is_none_and_said_to_be() {
    for (text, archives, said) in [
        ("activity = '180d'", false, Some("nothing of activity is archived: 180d")),
        ("activity = '90d'\nactivity_archive = '90d'", false, Some("nothing of activity is archived: 90d")),
        ("activity = 'forever'", false, None),
        ("activity_archive = 'off'", false, None),
        ("activity = '180d'\nactivity_archive = 'forever'", true, None),
    ] {
        let policy = shipped_with(&[("service.toml", &format!("[retention]\n{text}\n"))]).load().unwrap();
        assert_eq!(policy.retention.activity.archive != Archive::None, archives, "{text}");
        assert_eq!(policy.warnings.len(), usize::from(said.is_some()), "{:?}", policy.warnings);
        assert!(said.is_none_or(|said| policy.warnings[0].contains(said)), "{:?}", policy.warnings);
    }
}

#[test]
fn of_other_programs_tables_what_a_directory_says_counts_whole() {
    let own =
        "[[table]]\nname = 'webhook_logs'\nby = 'received_at'\nkeep = 'forever'\n[[table]]\nname = 'events'\nby = 'at'\nkeep = '7d'\n";
    let policy = shipped_with(&[("service.toml", own)]).load().unwrap();
    let told: Vec<_> = policy.retention.tables.iter().map(|kept| (kept.table.as_str(), kept.by.as_str(), kept.scheduled)).collect();
    let expected = [
        ("webhook_logs", "received_at", Scheduled::Hourly),
        ("events", "at", Scheduled::Hourly),
        ("conversation_sessions", "updated_at", Scheduled::ByHand),
        ("ops_mission_steps", "updated_at", Scheduled::ByHand),
    ];
    assert_eq!(told, expected);
    assert_eq!(policy.retention.tables[0].span.here, Age::Forever);
}
