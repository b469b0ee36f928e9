//! What operators rely on when they keep somebody out by policy: it is whom they meant, until when they meant, and a slip is named.

use eliza_gatekeeper::clock::Timestamp;

use super::{SOUND, given};

#[test]
fn a_block_says_whom_why_until_when_and_where() {
    let own = "\
[[block]]
networks = ['203.0.113.7/24', '2001:db8::1']
sources = ['a']
reason = 'INC-4711'
until = 2026-12-31T12:00:00Z
[[block]]
sources = ['b-*']
reason = 'runs wild'
[[source]]
names = ['b-1']
";
    let policy = given([("a.toml", SOUND), ("b.toml", own)]).load().unwrap();
    let until = Timestamp::parse_rfc3339("2026-12-31T12:00:00Z");
    let blocks: Vec<_> =
        policy.blocks.iter().map(|block| (block.subject.text(), block.reason.as_str(), block.until, block.place.as_str())).collect();
    let expected = [
        ("203.0.113.0/24", "INC-4711", until, "b.toml:2"),
        ("2001:db8::1", "INC-4711", until, "b.toml:2"),
        ("a", "INC-4711", until, "b.toml:3"),
        ("b-*", "runs wild", None, "b.toml:7"),
    ];
    assert_eq!(blocks, expected.map(|(subject, reason, until, place)| (subject.to_owned(), reason, until, place)));
}

#[test]
fn every_slip_is_named() {
    let own = "\
[[block]]
networks = ['203.0.113.0/33', 'a', '0.0.0.0/0']
sources = ['*', 'nobody', 'no name']
reason = ' '
until = '2026-12-31'
[[block]]
reason = 'x'
";
    let problems = given([("a.toml", SOUND), ("b.toml", own)]).problems();
    let expected = [
        "b.toml:2:13: `203.0.113.0/33` is no network: write an address, or one with its length, as in \"203.0.113.0/24\"",
        "b.toml:2:31: `a` is no network: write an address, or one with its length, as in \"203.0.113.0/24\"",
        "b.toml:2:36: `0.0.0.0/0` would keep everyone out: to stop all calls, stop the gatekeeper",
        "b.toml:3:12: `*` would keep everyone out: to stop all calls, stop the gatekeeper",
        "b.toml:3:17: no listed source is called `nobody`: list it under [[source]], or mend the name",
        "b.toml:3:27: `no name` is no name: use up to 128 letters, digits, `.`, `_`, `-`, and `*` for any run of them",
        "b.toml:4:10: `reason` is empty: whoever wonders about the block reads it",
        "b.toml:5:9: `2026-12-31` is no moment: write date, time and zone, as in \"2026-12-31T12:00:00Z\"",
        "b.toml:6:1: this keeps nobody out: name `networks` or `sources`",
    ];
    assert_eq!(problems, expected);
}
