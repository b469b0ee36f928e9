//! What operators rely on when they say what SQL rules do: a few lines change what they name and nothing else, and what has no effect
//! is told.

use eliza_gatekeeper::call::Path;
use eliza_gatekeeper::policy::{Mode, Shown};
use eliza_gatekeeper::sql::Backslashes;

use super::{SOUND, given};

#[test]
fn a_few_lines_change_what_they_name_and_nothing_else() {
    let own = "\
[sql]
prose = ['Notes[].Text']
literals = 'keep'
standard_conforming_strings = 'unknown'
[[sql.code]]
path = 'payload.Script'
targets = ['t']
[sql.rules]
grant = 'off'
drop-view = 'observe'
[[rule]]
id = 'revoke'
mode = 'observe'
sources = ['a']
reason = 'it makes the roles'
";
    let policy = given([("a.toml", SOUND), ("b.toml", own)]).load().unwrap();
    let sql = &policy.sql;
    let changed: Vec<_> = sql
        .rules
        .iter()
        .filter(|setting| setting.mode != Mode::Enforce)
        .map(|setting| (setting.rule.id, setting.mode, setting.place.as_ref().unwrap().as_str()))
        .collect();
    let (own, shipped): (Vec<_>, Vec<_>) = changed.into_iter().partition(|(.., place)| place.starts_with("b.toml"));
    assert_eq!(own, [("drop-view", Mode::Observe, "b.toml:10"), ("grant", Mode::Off, "b.toml:9")]);
    assert!(shipped.iter().all(|(_, mode, _)| *mode == Mode::Observe), "{shipped:?}");
    let apart: Vec<_> = sql.rules.iter().flat_map(|setting| setting.overrides.iter().map(move |own| (setting.rule.id, own))).collect();
    let [(id, one)] = &apart[..] else { panic!("{apart:?}") };
    assert_eq!((*id, one.mode, one.reach.sources[0].as_str(), one.place.as_str()), ("revoke", Mode::Observe, "a", "b.toml:12"));
    assert_eq!((sql.fields.sql.len(), sql.fields.prose.as_slice()), (3, [Path::parse("notes[].text").unwrap()].as_slice()));
    assert_eq!((sql.fields.code[0].path.as_str(), sql.fields.code.len()), ("payload.script", 1));
    assert_eq!((sql.shown, sql.backslashes), (Shown::Kept, Backslashes::Both));
    assert_eq!(policy.warnings, Vec::<String>::new(), "extended rules are for operators to choose");
}

#[test]
fn a_core_rule_that_is_not_enforced_is_mentioned() {
    let own = "\
[sql.rules]
truncate = 'off'
drop-schema = 'observe'
[[rule]]
id = 'drop-table'
mode = 'observe'
targets = ['t']
[[rule]]
id = 'drop-table'
mode = 'enforce'
sources = ['a']
";
    let policy = given([("a.toml", SOUND), ("b.toml", own)]).load().unwrap();
    let said =
        "core SQL rules that are not enforced: drop-table (observed for some calls, b.toml:5), drop-schema (observed), truncate (off)";
    assert_eq!(policy.warnings, [said]);
}

#[test]
fn what_counts_for_nothing_is_mentioned() {
    let own = "\
[[rule]]
id = 'grant'
mode = 'observe'
sources = ['a', 'b-*']
[[rule]]
id = 'grant'
mode = 'off'
sources = ['b-1']
targets = ['t']
[[rule]]
id = 'grant'
mode = 'off'
targets = ['t']
[[source]]
names = ['b-*']
";
    let policy = given([("a.toml", SOUND), ("b.toml", own)]).load().unwrap();
    let said = "b.toml:6: this counts for nothing, b.toml:2 says what `grant` does in all its calls: take one of them out";
    assert_eq!(policy.warnings, [said]);
}
