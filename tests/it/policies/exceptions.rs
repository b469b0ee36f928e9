//! What operators rely on when they except somebody from a SQL rule: it is whom they meant, and a slip is named.

use eliza_gatekeeper::clock::Timestamp;
use eliza_gatekeeper::identity::NamePattern;
use eliza_gatekeeper::policy::{ObjectPattern, Reach, SqlException};
use eliza_gatekeeper::sql::Fingerprint;
use eliza_gatekeeper::sql::rules::RULES;

use super::{SOUND, given};

#[test]
fn an_exception_reads_as_written() {
    let own = "\
[[exception]]
rules = ['truncate', 'drop-table']
sources = ['a']
targets = ['t*']
objects = ['tmp_*', '\"Drafts\"']
statements = ['0123456789abcdef']
reason = 'cleans up each night'
by = 'alice'
until = '2026-12-31T12:00:00Z'
";
    let policy = given([("a.toml", SOUND), ("b.toml", own)]).load().unwrap();
    let [exception] = &policy.sql.exceptions[..] else { panic!("{:?}", policy.sql.exceptions) };
    let SqlException { rules, reach: Reach { sources, targets }, objects, statements, reason, by, until, place } = exception;
    let objects: Vec<&str> = objects.iter().map(ObjectPattern::as_str).collect();
    assert_eq!((objects, statements.as_slice()), (vec!["tmp_*", "\"Drafts\""], [Fingerprint(0x0123_4567_89ab_cdef)].as_slice()));
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
[[exception]]
rules = ['truncate', 'alter-system', 'own']
objects = ['Users', 'tmp_*']
statements = ['0123456789ABCDEF', '0123']
reason = 'x'
by = 'y'
[[exception]]
rules = ['truncate']
objects = []
statements = []
reason = 'x'
by = 'y'
[[pattern]]
id = 'own'
regex = 'x'
why = 'w'
refuses = ['SELECT x']
";
    let ids = RULES.map(|rule| rule.id).join(", ");
    let nameless = "never says which object it is about, so `objects` covers nothing of it: name `statements`, or take it out";
    let no_fingerprint = "is no fingerprint: write the 16 hex digits, in small letters, that a refusal or record of the statement names";
    let expected = [
        format!("b.toml:2:10: there is no rule `drop-tables`: the ids are {ids}, own"),
        "b.toml:3:12: no listed source is called `b`: list it under [[source]], or mend the name".to_owned(),
        "b.toml:4:12: there is no target `u`: list it under [[target]], or mend the name".to_owned(),
        "b.toml:5:10: `reason` is empty: whoever wonders about the exception reads it".to_owned(),
        "b.toml:6:6: `by` is empty: somebody answers for an exception".to_owned(),
        "b.toml:8:9: this excepts from no rule: name at least one by its id".to_owned(),
        format!("b.toml:12:22: `alter-system` {nameless}"),
        format!("b.toml:12:38: `own` {nameless}"),
        "b.toml:13:12: `Users` never matches: without quotes PostgreSQL keeps names in small letters; write \"users\", or '\"…\"' for a name \
         that was created in quotes"
            .to_owned(),
        format!("b.toml:14:15: `0123456789ABCDEF` {no_fingerprint}"),
        format!("b.toml:14:35: `0123` {no_fingerprint}"),
        "b.toml:19:11: an empty list would cover nothing: name some, or take `objects` out".to_owned(),
        "b.toml:20:14: an empty list would cover nothing: name some, or take `statements` out".to_owned(),
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
    let for_all = "b.toml:1: this exception is for every call: the rule's mode says so more plainly";
    let over = |line: u32, year: u32| format!("b.toml:{line}: this ended on {year}-12-31T12:00:00Z and counts for nothing: take it out");
    let at = |text| policy.warnings_at(Timestamp::parse_rfc3339(text).unwrap());
    assert_eq!(at("2026-12-31T11:59:59Z"), [for_all.to_owned()]);
    assert_eq!(at("2026-12-31T12:00:00Z"), [for_all.to_owned(), over(2, 2026)]);
    assert_eq!(at("2028-01-01T00:00:00Z"), [for_all.to_owned(), over(7, 2027), over(2, 2026)]);
}

#[test]
fn which_rules_can_be_excepted_by_object_is_known_of_each() {
    let nameless: Vec<&str> = RULES
        .iter()
        .map(|rule| rule.id)
        .filter(|id| {
            let own = format!("[[exception]]\nrules = ['{id}']\nobjects = ['x']\nreason = 'x'\nby = 'y'\n");
            !given([("a.toml", SOUND), ("b.toml", own.as_str())]).problems().is_empty()
        })
        .collect();
    assert_eq!(nameless, ["alter-system", "guard-setting", "change-role", "server-function", "load-library", "dynamic-sql", "unreadable"]);
}

#[test]
fn what_no_call_can_need_is_mentioned() {
    let rest = "reason = 'x'\nby = 'y'\n";
    let needless = "all of this is excepted by b.toml:2 already: take one of them out";
    let off = |id: &str| format!("`{id}` is off in every call that this exception is for: take it out");
    let first = format!("[[exception]]\nrules = ['truncate', 'drop-table']\nsources = ['a', 'b-*']\nobjects = ['tmp_*']\n{rest}");
    let cases = [
        // An earlier one covers all of it, or a part.
        ("rules = ['truncate']\nsources = ['b-1']\nobjects = ['tmp_a*', 's.tmp_b']", Some(needless.to_owned())),
        ("rules = ['truncate']\nsources = ['a']\nobjects = ['tmp_*']\nstatements = ['0123456789abcdef']", Some(needless.to_owned())),
        ("rules = ['truncate']\nsources = ['a']\nobjects = ['tmp_*']\nuntil = 2099-01-01T00:00:00Z", Some(needless.to_owned())),
        ("rules = ['truncate', 'drop-view']\nsources = ['a']\nobjects = ['tmp_*']", None),
        ("rules = ['truncate']\nobjects = ['tmp_*']", None),
        ("rules = ['truncate']\nsources = ['*']\nobjects = ['tmp_*']", None),
        ("rules = ['truncate']\nsources = ['a']\nobjects = ['t*']", None),
        ("rules = ['truncate']\nsources = ['a']", None),
        // The rule does nothing there.
        ("rules = ['grant']\nsources = ['a']", Some(off("grant"))),
        ("rules = ['revoke']\nsources = ['a']\ntargets = ['t']", Some(off("revoke"))),
        ("rules = ['revoke']\nsources = ['a']", None),
        ("rules = ['drop-role']\nsources = ['a']", None),
        ("rules = ['drop-role']\nsources = ['b-*']", Some(off("drop-role"))),
        ("rules = ['drop-role']\nsources = ['b-1']", Some(off("drop-role"))),
        ("rules = ['drop-view']\nsources = ['b-*']", None),
        ("rules = ['drop-view']\nsources = ['b-1']", Some(off("drop-view"))),
        ("rules = ['drop-view']\ntargets = ['t']", None),
        ("rules = ['own']\ntargets = ['u']", Some(off("own"))),
        ("rules = ['own']\nsources = ['a']", None),
    ];
    let policy = "\
[[source]]
names = ['b-*']
[[target]]
names = ['u']
[sql.rules]
grant = 'off'
drop-role = 'off'
[[rule]]
id = 'revoke'
mode = 'off'
targets = ['t']
[[rule]]
id = 'drop-role'
mode = 'observe'
sources = ['a']
[[rule]]
id = 'drop-view'
mode = 'off'
sources = ['b-1']
[[pattern]]
id = 'own'
regex = 'x'
why = 'w'
refuses = ['SELECT x']
targets = ['t']
";
    for (second, expected) in cases {
        let own = format!("{first}[[exception]]\n{second}\n{rest}");
        let policy = given([("a.toml", SOUND), ("b.toml", own.as_str()), ("c.toml", policy)]).load().unwrap();
        let said: Vec<String> = expected.into_iter().map(|what| format!("b.toml:8: {what}")).collect();
        assert_eq!(policy.warnings, said, "{second}");
    }
}
