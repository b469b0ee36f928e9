//! What operators rely on when they change limits: an override reaches whom it names, once, and nobody else.

use eliza_gatekeeper::policy::{Counted, Policy};

use super::{given, shown, source};

const MINING: &str = "[[target]]\nnames = ['mining-proxy', 'quiet']\n[[source]]\nnames = ['alice', 'bob-1', 'bob-*']\n";

fn with_overrides(overrides: &str) -> Policy {
    let text = format!("{MINING}{overrides}");
    given([("p.toml", text.as_str()), ("schema.toml", "[schema]\nvalidator = 'off'\n")]).load().unwrap()
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
fn one_name_is_never_counted_together_with_others() {
    let overrides = "[[override]]\nsource = 'carl-1'\nendpoint = 'mining-proxy:*'\nlimit = ['7/1m']\n";
    let policy = with_overrides(&format!("[[source]]\nnames = ['carl-*', 'dora']\ntogether = true\n{overrides}"));
    for (name, counted) in [("carl-2", Counted::Together), ("carl-1", Counted::Apart), ("dora", Counted::Apart)] {
        assert_eq!(source(&policy, name).counted, counted, "{name}");
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
