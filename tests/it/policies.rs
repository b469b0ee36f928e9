//! What operators rely on when they write policies: the shipped ones and every preset work as they are, examples of
//! rules hold, limits mean what they say, secrets stay where they belong, and every mistake is named at once, with file and line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eliza_gatekeeper::identity::{Secret, SourceName};
use eliza_gatekeeper::policy::load::{CredentialInputs, Origin, load};
use eliza_gatekeeper::policy::problems::Problems;
use eliza_gatekeeper::policy::{Allowance, BodyShape, Credentials, Policy, Source};
use eliza_gatekeeper::sql::Mode;

const PLATFORM: &str = "https://project.supabase.co";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A policy directory and the environment it is loaded in.
struct Given {
    directory: tempfile::TempDir,
    variables: HashMap<&'static str, String>,
    service_role: Option<&'static str>,
}

fn given<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Given {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    Given { directory, variables: HashMap::from([("SUPABASE_URL", PLATFORM.to_owned())]), service_role: Some("service-role-key") }
}

/// The shipped files, some of them replaced or added.
fn shipped_with(changes: &[(&str, &str)]) -> Given {
    let shipped = files_of(&root().join("policies"));
    let kept = shipped.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    given(kept.chain(changes.iter().copied()))
}

fn files_of(directory: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let tomls = entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    tomls.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())).collect()
}

impl Given {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    fn load(&self) -> Result<Policy, Problems> {
        self.load_from(&Origin::Directory(self.directory.path().to_owned()))
    }

    fn load_from(&self, origin: &Origin) -> Result<Policy, Problems> {
        let credentials = CredentialInputs { service_role: self.service_role.map(Secret::new) };
        load(origin, &|name| self.variables.get(name).cloned(), &credentials)
    }

    fn problems(&self) -> Vec<String> {
        self.load().err().map(|problems| problems.as_slice().iter().map(ToString::to_string).collect()).unwrap_or_default()
    }
}

fn source<'a>(policy: &'a Policy, name: &str) -> &'a Source {
    policy.sources.find(&SourceName::parse(name).unwrap()).unwrap_or_else(|| panic!("{name} is not listed"))
}

fn listed(policy: &Policy, name: &str) -> bool {
    policy.sources.find(&SourceName::parse(name).unwrap()).is_some()
}

/// `100/60s 1000/3600s, burst 100+20/s`
fn shown(allowance: &Allowance) -> String {
    let windows: Vec<String> = allowance.windows.iter().map(|window| format!("{}/{}s", window.limit, window.secs)).collect();
    let burst = allowance.burst.map_or("no burst".to_owned(), |burst| format!("burst {}+{}/s", burst.size, burst.per_second));
    format!("{}, {burst}", windows.join(" "))
}

// ---- what is shipped ----

#[test]
fn the_shipped_policies_list_what_the_original_knew() {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    assert_eq!(policy.warnings, Vec::<String>::new());
    assert_eq!((policy.sources.named.len(), policy.sources.patterns.len()), (29, 1));
    assert_eq!(policy.targets.by_name.len(), 33 + 1);
    for name in policy.sources.named.keys() {
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
    let month = Duration::from_secs(30 * 86_400);
    assert_eq!((policy.retention.activity, policy.retention.api_calls, policy.retention.rate_limits), (month, month, month));
    assert_eq!(policy.cors.origins, ["*"]);
    let limits = &policy.limits;
    assert_eq!((limits.endpoints_per_source, limits.buckets, limits.stranger_records_per_minute), (64, 100_000, 100));
    assert_eq!(limits.window_lengths, [60]);
    assert_eq!(policy.sql.fields, ["operation", "sql", "query"]);
    let target = policy.targets.find("gemini-chat").unwrap();
    assert_eq!(target.url.as_ref().unwrap(), "https://project.supabase.co/functions/v1/gemini-chat");
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
fn the_six_core_rules_answer_with_the_originals_patterns() {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    let patterns: Vec<&str> = policy.sql.rules.iter().map(|rule| rule.pattern.as_str()).collect();
    let original = [
        r"/DROP\s+TABLE/i",
        r"/DROP\s+DATABASE/i",
        r"/TRUNCATE/i",
        r"/DELETE\s+FROM\s+\w+\s*;/i",
        r"/ALTER\s+DATABASE/i",
        r"/DROP\s+SCHEMA/i",
    ];
    assert_eq!(patterns, original);
    assert!(policy.sql.rules.iter().all(|rule| rule.mode == Mode::Enforce && !rule.why.is_empty()));
}

#[test]
fn every_example_of_a_shipped_rule_holds_against_all_rules() {
    let policy = given([]).load_from(&Origin::Shipped).unwrap();
    let table: toml::Table = std::fs::read_to_string(root().join("policies/sql.toml")).unwrap().parse().unwrap();
    let examples = |rule: &toml::Value, key: &str| -> Vec<String> {
        rule[key].as_array().unwrap().iter().map(|example| example.as_str().unwrap().to_owned()).collect()
    };
    let refusing = |text: &str| -> Vec<&str> {
        policy.sql.rules.iter().filter(|rule| rule.regex.is_match(text)).map(|rule| rule.id.as_str()).collect()
    };
    let mut seen = 0;
    for rule in table["rule"].as_array().unwrap() {
        let id = rule["id"].as_str().unwrap();
        for example in examples(rule, "refuses") {
            assert!(refusing(&example).contains(&id), "{id} lets pass: {example}");
            seen += 1;
        }
        for example in examples(rule, "allows") {
            assert_eq!(refusing(&example), Vec::<&str>::new(), "{example}");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} examples");
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
fn the_policy_for_measurements_refuses_nothing() {
    let nothing_set = Given { service_role: None, ..given([]).without("SUPABASE_URL") };
    let policy = nothing_set.load_from(&Origin::Directory(root().join("benches/peers/policies"))).unwrap();
    assert_eq!(policy.warnings, Vec::<String>::new());
    assert_eq!(policy.sources.named.len(), 8);
    let source = source(&policy, "agent-7");
    assert!(source.total.burst.is_none() && source.total.windows[0].limit > 1_000_000_000);
    let target = policy.targets.find("brain").unwrap();
    assert_eq!(target.url.as_ref().unwrap(), "http://127.0.0.1:18080/t/brain");
    assert!(matches!(target.credentials, Credentials::None));
}

// ---- what a directory means ----

#[test]
fn what_a_directory_leaves_out_is_as_shipped() {
    let files =
        [("mine.toml", "[[source]]\nnames = ['a']\n[[target]]\nnames = ['t']\n[target_defaults]\ntimeout = '1s'\n[body]\nmax = '64KiB'\n")];
    let policy = given(files).load().unwrap();
    assert_eq!(policy.warnings, Vec::<String>::new());
    assert_eq!((policy.body.max_bytes, policy.body.max_hops), (64 << 10, 8));
    assert_eq!(policy.sql.rules.len(), 6);
    let target = policy.targets.find("t").unwrap();
    assert_eq!(target.url.as_ref().unwrap(), "https://project.supabase.co/functions/v1/t");
    assert_eq!((target.timeout, target.idle_timeout), (Duration::from_secs(1), Duration::from_secs(60)));
    assert!(matches!(target.credentials, Credentials::ServiceRole(_)));
    assert_eq!((policy.sources.named.len(), policy.targets.by_name.len()), (1, 1));
}

#[test]
fn a_core_rule_that_is_not_enforced_is_mentioned() {
    let shipped = std::fs::read_to_string(root().join("policies/sql.toml")).unwrap();
    let kept = shipped.split("[[rule]]").filter(|rule| !rule.contains("id = \"truncate\"")).collect::<Vec<_>>().join("[[rule]]");
    let lax = kept.replace("id = \"drop-schema\"", "id = \"drop-schema\"\nmode = \"observe\"");
    let policy = shipped_with(&[("sql.toml", &lax)]).load().unwrap();
    assert_eq!(policy.warnings, ["shipped SQL rules that are not enforced: truncate (missing), drop-schema (observed)"]);
    assert_eq!(policy.sql.rules.len(), 5);
}

#[test]
fn a_single_name_beats_every_pattern_and_the_first_pattern_counts() {
    let policy = given([(
        "p.toml",
        "[tiers.user]\nlimit = ['1/1m']\n[tiers.b]\nlimit = ['2/1m']\n[tiers.c]\nlimit = ['3/1m']\n\
         [[source]]\nnames = ['super-*']\ntier = 'b'\n[[source]]\nnames = ['*']\n[[source]]\nnames = ['super-cat']\ntier = 'c'\n",
    )])
    .load()
    .unwrap();
    for (name, limit) in [("super-cat", 3), ("super-dog", 2), ("other", 1)] {
        assert_eq!(source(&policy, name).total.windows[0].limit, limit, "{name}");
    }
    for name in ["service_role", "unauthenticated"] {
        assert!(!listed(&policy, name), "no caller may go by `{name}`");
    }
}

// ---- limits ----

const MINING: &str = "[[target]]\nnames = ['mining-proxy', 'quiet']\n[[source]]\nnames = ['alice', 'bob-1', 'bob-*']\n";

fn with_overrides(overrides: &str) -> Policy {
    let text = format!("{MINING}{overrides}");
    given([("p.toml", text.as_str())]).load().unwrap()
}

#[test]
fn one_endpoint_is_raised_by_one_edit() {
    let policy = with_overrides("[[override]]\nendpoint = 'mining-proxy:*'\nlimit = ['1000/1m']\n");
    for name in ["alice", "bob-1", "bob-2"] {
        let source = source(&policy, name);
        assert_eq!(shown(source.allowance_of("mining-proxy:work")), "1000/60s, burst 1000+200/s", "{name}");
        assert_eq!(shown(source.allowance_of("quiet:work")), "100/60s, burst 100+20/s", "{name}");
        assert_eq!(shown(&source.total), "1000/60s, burst 1000+200/s", "{name}");
    }
}

#[test]
fn an_override_reaches_whom_it_names() {
    let cases = [
        ("alice", ["alice"].as_slice()),
        ("bob-1", &["bob-1"]),
        ("bob-2", &["bob-2"]),
        ("bob-*", &["bob-1", "bob-2", "bob-3"]),
        ("b*", &["bob-1", "bob-2", "bob-3"]),
        ("*", &["alice", "bob-1", "bob-2", "bob-3"]),
    ];
    for (named, reached) in cases {
        let policy = with_overrides(&format!("[[override]]\nsource = '{named}'\nendpoint = 'mining-proxy:*'\nlimit = ['7/1m']\n"));
        for name in ["alice", "bob-1", "bob-2", "bob-3"] {
            let limit = source(&policy, name).allowance_of("mining-proxy:x").windows[0].limit;
            assert_eq!(limit == 7, reached.contains(&name), "{named} on {name}");
        }
    }
}

#[test]
fn a_total_rises_only_where_it_must() {
    let cases = [
        ("a lower override leaves it", "limit = ['5/1m']", "100/60s, burst 100+20/s"),
        ("another window is no bound of the total", "limit = ['9000/1h']", "100/60s, burst 100+20/s"),
        ("the same window rises", "limit = ['150/1m', '9000/1h']", "150/60s, burst 150+30/s"),
        ("a stated burst rises it too", "limit = ['100/1m']\nburst = '50 then 90/s'", "100/60s, burst 100+90/s"),
        ("no burst needs none", "limit = ['100/1m']\nburst = 'off'", "100/60s, no burst"),
    ];
    for (why, terms, expected) in cases {
        let policy = with_overrides(&format!("[[override]]\nsource = 'alice'\nendpoint = 'mining-proxy:*'\n{terms}\n"));
        assert_eq!(shown(&source(&policy, "alice").total), expected, "{why}");
        assert_eq!(shown(&source(&policy, "bob-1").total), "100/60s, burst 100+20/s", "{why}");
    }
}

#[test]
fn a_source_that_states_its_total_keeps_it() {
    let own = "[[source]]\nnames = ['carol']\ntotal = ['300/1m']\n[[source]]\nnames = ['dave']\ntotal_burst = '5 then 1/s'\n";
    let policy = with_overrides(&format!("{own}[[override]]\nendpoint = 'mining-proxy:*'\nlimit = ['1000/1m']\n"));
    assert_eq!(shown(&source(&policy, "carol").total), "300/60s, burst 300+60/s");
    assert_eq!(shown(&source(&policy, "dave").total), "1000/60s, burst 5+1/s");
    assert_eq!(policy.warnings.len(), 1);
    assert!(policy.warnings[0].contains("p.toml:12") && policy.warnings[0].contains("`carol`"), "{:?}", policy.warnings);
}

#[test]
fn the_first_override_that_matches_counts() {
    let policy = with_overrides(
        "[[override]]\nendpoint = 'mining-proxy:read'\nlimit = ['1/1m']\n[[override]]\nendpoint = 'mining-proxy:*'\nlimit = ['2/10m']\n\
         [[override]]\nendpoint = '*'\nlimit = ['3/1d']\n",
    );
    let source = source(&policy, "alice");
    for (endpoint, limit) in [("mining-proxy:read", 1), ("mining-proxy:a:b", 2), ("quiet:read", 3)] {
        assert_eq!(source.allowance_of(endpoint).windows[0].limit, limit, "{endpoint}");
    }
    assert_eq!(policy.limits.window_lengths, [60, 600, 86_400]);
}

// ---- targets and their credentials ----

#[test]
fn who_may_call_is_a_matter_of_policy() {
    let policy = given([("p.toml", "[[source]]\nnames = ['a', 'b-*']\n[[target]]\nnames = ['t']\ncallers = ['b-1']\n")]).load().unwrap();
    let target = policy.targets.find("t").unwrap();
    assert_eq!((target.admits("a"), target.admits("b-1"), target.admits("b-2")), (false, true, false));
}

#[test]
fn what_is_not_set_is_mentioned_once() {
    let nothing_set = Given { service_role: None, ..given([]).without("SUPABASE_URL") };
    let policy = nothing_set.load_from(&Origin::Shipped).unwrap();
    assert_eq!(
        policy.warnings,
        [
            "SUPABASE_URL is not set: no address for 34 targets, calls there answer 503 target_not_configured",
            "no service role key is set: 34 targets called without credentials",
        ]
    );
    let target = policy.targets.find("gemini-chat").unwrap();
    assert!(target.url.is_none() && matches!(target.credentials, Credentials::None));
}

#[test]
fn a_trailing_slash_of_the_platform_is_no_mistake() {
    let policy = given([]).with("SUPABASE_URL", "https://project.supabase.co/ ").load_from(&Origin::Shipped).unwrap();
    let url = policy.targets.find("openai-tts").unwrap().url.clone().unwrap();
    assert_eq!(url, "https://project.supabase.co/functions/v1/openai-tts");
}

#[test]
fn secrets_go_only_where_they_belong() {
    let target = |terms: &str| format!("[[source]]\nnames = ['a']\n[[target]]\nnames = ['t']\n{terms}\n");
    let foreign = "the service role key goes to the origin of SUPABASE_URL only";
    let exposed = "credentials would travel over plain http off this machine";
    let own_secret = "is a secret of the gatekeeper's own";
    let cases = [
        ("url = 'https://project.supabase.co/x'", None),
        ("url = 'https://PROJECT.supabase.co:443/x'", None),
        ("url = 'https://project.supabase.co:444/x'", Some(foreign)),
        ("url = 'https://project.supabase.co.evil.example/x'", Some(foreign)),
        ("url = 'http://project.supabase.co/x'", Some(foreign)),
        ("url = 'http://127.0.0.1:1/x'", Some(foreign)),
        ("url = 'https://project.supabase.co@evil.example/x'", Some("no user or password belongs in it")),
        ("url = 'https://elsewhere.example/x'\ncredentials = 'none'", None),
        ("url = 'http://10.0.0.1/x'\ncredentials = 'none'", None),
        ("url = 'https://elsewhere.example/x'\nauthorization = 'pass'", None),
        ("url = 'https://elsewhere.example/x'\nauthorization = 'stop'", Some(foreign)),
        ("url = 'https://elsewhere.example/x'\nbearer = 'TOKEN'", None),
        ("url = 'http://localhost:1/x'\nbearer = 'TOKEN'", None),
        ("url = 'http://elsewhere.example/x'\nbearer = 'TOKEN'", Some(exposed)),
        ("url = 'http://elsewhere.example/x'\nbearer = 'UNSET'", Some(exposed)),
        ("url = 'https://elsewhere.example/x'\nbearer = 'ALIAS'", Some(foreign)),
        ("url = 'https://elsewhere.example/x'\nbearer = 'INTERNAL_ELIZA_KEY'", Some(own_secret)),
        ("url = 'https://elsewhere.example/${SUPABASE_SERVICE_ROLE_KEY}'\ncredentials = 'none'", Some(own_secret)),
        ("bearer = 'BROKEN'", Some("fits into no header")),
        ("bearer = 'TOKEN'\ncredentials = 'none'", Some("keep one of them")),
        ("authorization = 'pass'\ncredentials = 'service-role'", Some("keep one of them")),
        ("authorization = 'pass'\nbearer = 'TOKEN'", Some("keep one of them")),
    ];
    for (terms, expected) in cases {
        let text = target(terms);
        let given = given([("p.toml", text.as_str())]).with("TOKEN", "t0ken").with("ALIAS", "service-role-key").with("BROKEN", "a\nb");
        let problems = given.problems();
        match expected {
            None => assert_eq!(problems, Vec::<String>::new(), "{terms}"),
            Some(words) => {
                assert!(problems.iter().any(|problem| problem.contains(words)), "{terms}: {problems:?}");
                assert!(problems.iter().all(|problem| problem.starts_with("p.toml:")), "{terms}: {problems:?}");
                assert!(!problems.concat().contains("service-role-key") && !problems.concat().contains("t0ken"), "{problems:?}");
            }
        }
    }
}

#[test]
fn a_platform_over_plain_http_gets_no_secret() {
    let local = given([]).with("SUPABASE_URL", "http://127.0.0.1:54321").load_from(&Origin::Shipped).unwrap();
    assert!(matches!(local.targets.find("gemini-chat").unwrap().credentials, Credentials::ServiceRole(_)));
    let exposed = shipped_with(&[]).with("SUPABASE_URL", "http://platform.example").problems();
    assert_eq!(exposed.len(), 1, "{exposed:?}");
    let targets = std::fs::read_to_string(root().join("policies/targets.toml")).unwrap();
    let line = 1 + targets.lines().position(|line| line.starts_with("url = ")).unwrap();
    assert!(exposed[0].starts_with(&format!("targets.toml:{line}:7: ")) && exposed[0].contains("plain http"), "{exposed:?}");
}

#[test]
fn each_target_is_given_what_its_policy_says() {
    let text = "[[source]]\nnames = ['a']\n[target_defaults]\nauthorization = 'pass'\n[[target]]\nnames = ['passing']\n\
                [[target]]\nnames = ['known']\nbearer = 'TOKEN'\n[[target]]\nnames = ['platform']\ncredentials = 'service-role'\n\
                [[target]]\nnames = ['bare']\ncredentials = 'none'\n[[target]]\nnames = ['lacking']\nbearer = 'UNSET'\n";
    let policy = given([("p.toml", text)]).with("TOKEN", "t0ken").load().unwrap();
    let target = |name: &str| policy.targets.find(name).unwrap();
    assert!(target("passing").pass_authorization && matches!(target("passing").credentials, Credentials::None));
    assert!(matches!(&target("known").credentials, Credentials::Bearer(secret) if secret.reveal() == "t0ken"));
    assert!(matches!(target("platform").credentials, Credentials::ServiceRole(_)) && !target("platform").pass_authorization);
    assert!(matches!(target("bare").credentials, Credentials::None) && !target("bare").pass_authorization);
    assert!(matches!(target("lacking").credentials, Credentials::None));
    assert_eq!(policy.warnings, ["UNSET is not set: 1 target called without credentials"]);
    assert!(!format!("{policy:?}").contains("t0ken"));
}

// ---- mistakes ----

/// A file that is sound, for the rest of which a case goes wrong.
const SOUND: &str = "[[source]]\nnames = ['a']\n[[target]]\nnames = ['t']\n";

#[test]
fn every_kind_of_mistake_is_named_with_its_line() {
    let rule = "[[rule]]\nid = 'r'\nwhy = 'w'\n";
    let cases: Vec<(String, &str, &str)> = [
        // Shape.
        ("[body\nmax = '1KiB'", "5:6", "this is no TOML"),
        ("[bdy]\nmax = '1KiB'", "5:2", "unknown section `bdy`"),
        ("[body]\nmxa = '1KiB'", "6:1", "unknown key `mxa`, expected one of `max`"),
        ("[body]\nmax = 5", "6:7", "expected a string"),
        ("[[body]]\nmax = '1KiB'", "5:3", "write [body], with one bracket"),
        ("[source.x]\nnames = ['b']", "5:9", "unknown key `x`"),
        ("[rule]\nid = 'x'", "5:1", "write [[rule]], with two brackets"),
        ("[[tiers]]\nlimit = ['1/1m']", "5:3", "write [tiers.NAME]"),
        ("[[source]]\ntier = 'user'", "5:1", "missing key `names`"),
        ("[[target]]\nurl = 'https://h'", "5:1", "missing key `names`"),
        ("[[target]]\nnames = ['u']\nshape = 'weird'", "7:9", "unknown value `weird`"),
        ("[cors]\norigins = []\n[cors]\norigins = []", "7:1", "this is no TOML"),
        // Sources.
        ("[[source]]\nnames = ['b b']", "6:10", "`b b` is no name"),
        ("[[source]]\nnames = ['a']", "6:10", "source `a` is listed in p.toml:2 already"),
        ("[[source]]\nnames = ['x-*', 'x-*']", "6:17", "source `x-*` is listed in p.toml:6 already"),
        ("[[source]]\nnames = ['service_role']", "6:10", "take another name"),
        ("[[source]]\nnames = ['b']\ntier = 'golden'", "7:8", "there is no tier `golden`: take one of autonomous, eliza, user"),
        ("[[source]]\nnames = ['b']\ntotal = ['0/1m']", "7:10", "lets nothing through"),
        ("[[source]]\nnames = ['b']\ntotal_burst = 'much'", "7:15", "is no burst"),
        // Limits.
        ("[tiers.user]\nlimit = ['10/7m']", "6:10", "a window of `7m` does not fit into a day"),
        ("[tiers.user]\nlimit = ['10']", "6:10", "is no limit"),
        ("[tiers.user]\nlimit = []", "6:9", "no limit is given"),
        ("[tiers.user]\nlimit = ['10/1m', '20/60s']", "6:19", "a second limit for the same window"),
        ("[tiers.user]\nlimit = ['10/1m']\nburst = '0 then 1/s'", "7:9", "is no burst"),
        ("[[override]]\nsource = 'z'\nendpoint = 't:*'\nlimit = ['1/1m']", "6:10", "no listed source is called `z`"),
        ("[[override]]\nendpoint = 'nowhere:*'\nlimit = ['1/1m']", "6:12", "there is no target `nowhere`"),
        ("[[override]]\nendpoint = 'now*:x'\nlimit = ['1/1m']", "6:12", "there is no target `now*`"),
        ("[[override]]\nendpoint = 't'\nlimit = ['1/1m']", "6:12", "write \"t:*\""),
        ("[[override]]\nendpoint = ''\nlimit = ['1/1m']", "6:12", "this is no endpoint"),
        ("[limits]\nbuckets = 0", "6:11", "write 1 or more"),
        ("[limits]\nendpoints_per_source = -1", "6:24", "invalid value"),
        // Targets.
        ("[[target]]\nnames = ['t']", "6:10", "target `t` is listed in p.toml:4 already"),
        ("[[target]]\nnames = ['u/v']", "6:10", "`u/v` is no name"),
        ("[[target]]\nnames = ['eliza-gatekeeper']", "6:10", "is the gatekeeper itself"),
        ("[[target]]\nnames = ['u']\nurl = 'somewhere'", "7:7", "this gives no address"),
        ("[[target]]\nnames = ['u']\nurl = 'https://h/{name}'", "7:7", "`{name}` stands for nothing"),
        ("[[target]]\nnames = ['u']\ntimeout = '0s'", "7:11", "is no duration"),
        ("[[target]]\nnames = ['u']\ntimeout = '2h'", "7:11", "at most 1h"),
        ("[[target]]\nnames = ['u']\nbreaker = { failures = 0 }", "7:24", "write 1 or more"),
        ("[[target]]\nnames = ['u']\nbreaker = { fails = 1 }", "7:13", "unknown key `fails`"),
        ("[[target]]\nnames = ['u']\ncallers = []", "7:11", "would shut everyone out"),
        ("[[target]]\nnames = ['u']\ncallers = ['b']", "7:12", "no listed source is called `b`"),
        ("[[target]]\nnames = ['u']\ndefaults = { at = 2026-01-01 }", "7:14", "has no JSON form"),
        ("[target_defaults]\nnames = ['u']", "6:9", "names have no place in [target_defaults]"),
        // The gatekeeper itself.
        ("[body]\nmax = '10MB'", "6:7", "is no size"),
        ("[body]\nmax_hops = 0", "6:12", "write 1 or more"),
        ("[retention]\nactivity = '30 days'", "6:12", "is no duration"),
        ("[retention]\nrate_limits = '30s'", "6:15", "shorter than the longest window in use: write at least 1m"),
        ("[cors]\norigins = ['https://a.example/']", "6:12", "is no origin"),
        ("[cors]\norigins = ['https://a.example', '*']", "6:33", "let it stand alone"),
        ("[sql]\nfields = ['']", "6:11", "a field needs a name"),
    ]
    .into_iter()
    .map(|(text, place, words)| (text.to_owned(), place, words))
    .chain([
        (format!("{rule}regex = '('\nrefuses = ['x']"), "8:9", "this is no regex"),
        (format!("{rule}regex = '(a{{1000}}){{1000}}'\nrefuses = ['a']"), "8:9", "grows too large"),
        (format!("{rule}regex = 'a*'\nrefuses = ['a']"), "8:9", "would refuse every statement"),
        (format!("{rule}regex = 'a'\nrefuses = []"), "9:11", "give at least one"),
        (format!("{rule}regex = 'a'\nrefuses = ['a', 'b']"), "9:17", "does not match this"),
        (format!("{rule}regex = 'a'\nrefuses = ['a']\nallows = ['cat']"), "10:11", "matches this"),
        (format!("{rule}regex = 'a'\nrefuses = ['a']\n{rule}regex = 'b'\nrefuses = ['b']"), "11:6", "rule `r` stands in p.toml:6 already"),
        (format!("{rule}regex = 'a'\nrefuses = ['a']\nmode = 'on'"), "10:8", "unknown value `on`"),
        ("[[rule]]\nid = 'R 1'\nwhy = ' '\nregex = 'a'\nrefuses = ['a']".to_owned(), "6:6", "is no id"),
    ])
    .collect();
    for (text, place, words) in cases {
        let file = format!("{SOUND}{text}\n");
        let problems = given([("p.toml", file.as_str())]).problems();
        let expected = format!("p.toml:{place}: ");
        assert!(
            problems.iter().any(|problem| problem.starts_with(&expected) && problem.contains(words)),
            "expected {expected}{words}\nof\n{text}\ngot\n{problems:#?}"
        );
    }
}

#[test]
fn all_mistakes_are_named_at_once_in_order() {
    let files = [
        ("a.toml", "[[source]]\nnames = ['x', 'x y']\ntier = 'golden'\ncolour = 5\n[body]\nmax = 'big'\nread_timeout = 7\n"),
        ("b.toml", "[cors\n[retention]\nactivity = 'long'\n"),
        ("c.toml", "[[target]]\nnames = ['t', 't']\ncallers = ['nobody']\n[body]\nmax = '1KiB'\n[[rule]]\nid = 'r'\n"),
    ];
    let problems = given(files).problems();
    let places: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    let expected = [
        "a.toml:2:15",
        "a.toml:3:8",
        "a.toml:4:1",
        "a.toml:6:7",
        "a.toml:7:16",
        "b.toml:1:6",
        "b.toml:3:12",
        "c.toml:2:15",
        "c.toml:3:12",
        "c.toml:4:2",
        "c.toml:6:1",
    ];
    assert_eq!(places, expected, "{problems:#?}");
}

#[test]
fn an_override_for_a_part_of_a_pattern_is_no_silent_loss() {
    let text = format!("{SOUND}[[source]]\nnames = ['bob-*']\n[[override]]\nsource = '*-1'\nendpoint = 't:*'\nlimit = ['9/1m']\n");
    let problems = given([("p.toml", text.as_str())]).problems();
    assert_eq!(problems, ["p.toml:8:10: `*-1` is only a part of `bob-*` (p.toml:6): list `*-1` as a source of its own before it"]);
}

#[test]
fn files_are_bounded_before_they_are_believed() {
    let large = format!("{SOUND}# {}\n", "x".repeat(1 << 20));
    let problems = given([("large.toml", large.as_str()), ("small.toml", "[body]\nmax = 'big'\n")]).problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("large.toml: cannot be read: it is larger than 1 MiB"), "{problems:?}");
    assert!(problems[1].starts_with("small.toml:2:7: "), "{problems:?}");

    let names: Vec<String> = (0..101).map(|number| format!("{number}.toml")).collect();
    let many = given(names.iter().map(|name| (name.as_str(), ""))).problems();
    assert!(many.len() == 1 && many[0].contains("more than 100"), "{many:?}");

    let empty = given([("notes.txt", "x"), (".hidden.toml", "x")]).problems();
    assert!(empty.len() == 1 && empty[0].contains("holds no *.toml file"), "{empty:?}");

    let given = given([]);
    std::fs::write(given.directory.path().join("latin.toml"), b"# caf\xe9\n").unwrap();
    let latin = given.problems();
    assert_eq!(latin, ["latin.toml: cannot be read: it is no UTF-8 text"]);

    let nowhere = given.load_from(&Origin::Directory(given.directory.path().join("nowhere"))).unwrap_err();
    assert!(nowhere.to_string().contains("cannot be read"), "{nowhere}");
}

#[test]
fn a_policy_that_lists_nobody_says_so() {
    let policy = given([("p.toml", "")]).load().unwrap();
    assert_eq!(policy.warnings, ["no source is listed: every call is refused", "no target is listed: every call is answered 404"]);
}
