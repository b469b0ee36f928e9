//! What operators rely on about a policy directory: what it leaves out is as shipped, and who is listed in it is clear.

use std::sync::Arc;
use std::time::Duration;

use eliza_gatekeeper::enforcement::{Enforcement, GateMode};
use eliza_gatekeeper::live::{Live, Snapshot};
use eliza_gatekeeper::policy::load::Origin;
use eliza_gatekeeper::policy::{Credentials, Mode};

use super::{SOUND, given, listed, source};

#[test]
fn what_a_directory_leaves_out_is_as_shipped() {
    let files = [(
        "mine.toml",
        "[[source]]\nnames = ['a']\n[[target]]\nnames = ['t', 'schema-manager']\n[target_defaults]\ntimeout = '1s'\n[body]\nmax = '64KiB'\n",
    )];
    let policy = given(files).load().unwrap();
    assert_eq!(policy.warnings, Vec::<String>::new());
    assert_eq!((policy.body.max_bytes, policy.body.max_hops), (64 << 10, 8));
    let observed: Vec<&str> =
        policy.sql.rules.iter().filter(|setting| setting.mode == Mode::Observe).map(|setting| setting.rule.id).collect();
    assert_eq!(observed, ["drop-trigger", "change-role"]);
    assert_eq!(policy.sql.fields.code[0].targets[0].as_str(), "python-executor", "a directory need not list it");
    let target = policy.targets.find("t").unwrap();
    assert_eq!(target.url.as_ref().unwrap(), "https://project.supabase.co/functions/v1/t");
    assert_eq!((target.timeout, target.idle_timeout), (Duration::from_secs(1), Duration::from_secs(60)));
    assert!(matches!(target.credentials, Credentials::ServiceRole(_)));
    assert_eq!((policy.sources.named.len(), policy.targets.by_name.len()), (1, 2));
    let schema = &policy.schema;
    assert_eq!((schema.validator.as_ref().unwrap().name.as_str(), schema.place.as_str()), ("schema-manager", "shipped schema.toml:10"));
    assert!(schema.fixer.is_none(), "a directory need not list whom it does not name");
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

#[test]
fn a_call_keeps_the_snapshot_it_began_with() {
    let policy = Arc::new(given([]).load_from(&Origin::Shipped).unwrap());
    let enforcement = Arc::new(Enforcement::starting(GateMode::Enforce));
    let live = Live::new(Snapshot {
        policy,
        keys: Arc::default(),
        service_role: None,
        admin_token: None,
        enforcement,
        switches: Arc::default(),
        blocklist: Arc::default(),
    });
    let before = live.snapshot();
    let after = Arc::new(given([("p.toml", SOUND)]).load().unwrap());
    live.change(|snapshot| snapshot.policy = after);
    assert_eq!((before.policy.sources.named.len(), live.current().policy.sources.named.len()), (30, 1));
}
