//! What operators rely on when they except somebody from a SQL rule: it is whom they meant, and a slip is named.

use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::NamePattern;
use eliza_gatekeeper::policy::SqlException;

use super::{SOUND, given};

#[test]
fn an_exception_reads_as_written() {
    let own = "\
[[exception]]
rules = ['truncate', 'drop-table']
sources = ['a']
targets = ['t*']
reason = 'cleans up each night'
by = 'alice'
until = '2026-12-31T12:00:00Z'
";
    let policy = given([("a.toml", SOUND), ("b.toml", own)]).load().unwrap();
    let [exception] = &policy.sql.exceptions[..] else { panic!("{:?}", policy.sql.exceptions) };
    let SqlException { rules, sources, targets, reason, by, until, place } = exception;
    assert_eq!((rules.join(" ").as_str(), reason.as_str(), by.as_str()), ("truncate drop-table", "cleans up each night", "alice"));
    let texts = |patterns: &[NamePattern]| patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!([texts(sources), texts(targets)], [["a"], ["t*"]]);
    assert_eq!((*until, place.as_str()), (Timestamp::parse_rfc3339("2026-12-31T12:00:00Z"), "b.toml:2"));
    assert_eq!(policy.warnings, Vec::<String>::new());
}

#[test]
fn every_slip_is_named() {
    let own = "\
[[exception]]
rules = ['drop-tables', 'truncate']
sources = ['b']
targets = ['u']
reason = ''
by = ''
[[exception]]
rules = []
reason = 'x'
by = 'y'
";
    let ids = "drop-table, drop-database, truncate, delete-without-where, alter-database, drop-schema";
    let expected = [
        format!("b.toml:2:10: there is no rule `drop-tables`: the ids are {ids}"),
        "b.toml:3:12: no listed source is called `b`: list it under [[source]], or mend the name".to_owned(),
        "b.toml:4:12: there is no target `u`: list it under [[target]], or mend the name".to_owned(),
        "b.toml:5:10: `reason` is empty: whoever wonders about the exception reads it".to_owned(),
        "b.toml:6:6: `by` is empty: somebody answers for an exception".to_owned(),
        "b.toml:8:9: this excepts from no rule: name at least one by its id".to_owned(),
    ];
    assert_eq!(given([("a.toml", SOUND), ("b.toml", own)]).problems(), expected);
}

#[test]
fn what_is_for_everyone_or_is_over_is_doubtful() {
    let own = "\
[[exception]]
rules = ['truncate']
reason = 'x'
by = 'y'
until = 2026-12-31T12:00:00Z
[[block]]
sources = ['a']
reason = 'x'
until = 2027-12-31T12:00:00Z
";
    let policy = given([("a.toml", SOUND), ("b.toml", own)]).load().unwrap();
    let for_all = "b.toml:1: this exception is for every call: `mode` of the rule says so more plainly";
    let over = |line: u32, year: u32| format!("b.toml:{line}: this ended on {year}-12-31T12:00:00Z and counts for nothing: take it out");
    let at = |text| policy.warnings_at(Timestamp::parse_rfc3339(text).unwrap());
    assert_eq!(at("2026-12-31T11:59:59Z"), [for_all.to_owned()]);
    assert_eq!(at("2026-12-31T12:00:00Z"), [for_all.to_owned(), over(2, 2026)]);
    assert_eq!(at("2028-01-01T00:00:00Z"), [for_all.to_owned(), over(7, 2027), over(2, 2026)]);
}
