//! What operators rely on when they err: every mistake is named at once, with file, line and what to do.

use eliza_gatekeeper::policy::load::Origin;

use proptest::prelude::*;

use super::{SOUND, files_of, given, root};

#[test]
fn every_kind_of_mistake_is_named_with_its_line() {
    let rule = "[[pattern]]\nid = 'r'\nwhy = 'w'\n";
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
        ("[cors]\norigins = []\n[cors]\norigins = []", "7:2", "this is no TOML: duplicate key"),
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
        // Schema validation.
        ("[schema]\nvalidator = 'nobody'", "6:13", "there is no target `nobody`: list it under [[target]], or write \"off\""),
        ("[schema]\nfixer = 'nobody'", "6:9", "there is no target `nobody`"),
        ("[schema]\nfail = 'ajar'", "6:8", "unknown value `ajar`"),
        ("[schema]\ntimeout = '5m'", "6:11", "at most 1m"),
        ("[schema]\nfix_cooldown = 'never'", "6:16", "is no duration"),
        ("[schema]\naction = ''", "6:10", "this is no action"),
        ("[schema]\nactions = ['']", "6:12", "this is no action"),
        ("[schema]\nddl = 'x'", "6:1", "unknown key `ddl`: it is not needed any more"),
        ("[schema.ddl]\nregex = '('\nmatches = ['x']", "5:9", "unknown key `ddl`: it is not needed any more"),
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
        ("[target_defaults]\ninspect = 'skip'", "6:11", "what is not judged is said target by target"),
        ("[target_defaults]\ninspect = 'sometimes'", "6:11", "unknown value `sometimes`"),
        ("[target_defaults]\nnames = ['u']", "6:9", "names have no place in [target_defaults]"),
        ("[[target]]\nnames = ['u']\nhealth = 'healthz'", "7:10", "`healthz` is no path"),
        ("[[target]]\nnames = ['u']\nhealth = '/a//b'", "7:10", "is no path"),
        ("[[target]]\nnames = ['u']\nhealth = '/a/../functions/v1/u'", "7:10", "is no path"),
        ("[[target]]\nnames = ['u']\nhealth = '/h?x=1'", "7:10", "is no path"),
        ("[[target]]\nnames = ['u']\nhealth = 'https://h/x'", "7:10", "is no path"),
        ("[[target]]\nnames = ['u']\nhealth = '/%66unctions'", "7:10", "is no path"),
        ("[[target]]\nnames = ['u']\nhealth = '/functions/v1/u'", "7:10", "calls to `u` go there"),
        ("[[target]]\nnames = ['u']\nhealth = '/functions/v1/T/'", "7:10", "calls to `t` go there"),
        ("[[target]]\nnames = ['u']\nurl = 'http://localhost:1'\ncredentials = 'none'\nhealth = '/'", "9:10", "calls to `u` go there"),
        // The gatekeeper itself.
        ("[body]\nmax = '10MB'", "6:7", "is no size"),
        ("[body]\nmax_hops = 0", "6:12", "write 1 or more"),
        ("[journal]\nsync = 'daily'", "6:8", "is no way to sync"),
        ("[journal]\nsync = '30d'", "6:8", "too long: at most 1m here"),
        ("[journal]\nsize = '512KiB'", "6:8", "too little for a journal"),
        ("[journal]\nsize = '17TiB'", "6:8", "at most \"16TiB\" here"),
        ("[journal]\nwhen_full = 'wait'", "6:13", "nothing to do when the journal is full"),
        ("[retention]\nactivity = '30 days'", "6:12", "is no duration"),
        ("[retention]\nactivity = '30s'", "6:12", "write at least 1d"),
        ("[retention]\nactivity_archive = 'never'", "6:20", "is no duration"),
        ("[[table]]\nname = 'rate_limits'\nby = 'at'\nkeep = '1d'", "6:8", "the gatekeeper's own"),
        ("[[table]]\nname = 'a; drop'\nby = 'at'\nkeep = '1d'", "6:8", "no name of a table or column"),
        ("[[table]]\nname = 'a'\nby = 'At'\nkeep = '1d'", "7:6", "no name of a table or column"),
        ("[[table]]\nname = 'a'\nby = 'at'\nkeep = '1h'", "8:8", "write at least 1d"),
        ("[[table]]\nname = 'a'\nby = 'at'\nkeep = '1d'\nonly = { b = 1.5 }", "9:14", "a text, a number, true or false"),
        ("[[table]]\nname = 'security_audit'\nby = 'created_at'\nkeep = '90d'", "8:8", "at least 365d"),
        ("[retention]\nrate_limits = '30s'", "6:15", "shorter than the longest window in use: write at least 1m"),
        ("[cors]\norigins = ['https://a.example/']", "6:12", "is no origin"),
        ("[cors]\norigins = ['https://a.example', '*']", "6:33", "let it stand alone"),
        // SQL.
        ("[sql]\nfields = ['']", "6:11", "a field needs a name"),
        ("[sql]\nprose = ['messages[0].content']", "6:10", "is no path"),
        ("[sql]\nprose = ['a..b']", "6:10", "is no path"),
        ("[sql]\nliterals = 'hide'", "6:12", "unknown value `hide`"),
        ("[sql]\nstandard_conforming_strings = 'off'", "6:31", "unknown value `off`"),
        ("[[sql.code]]\npath = '/payload/code'", "6:8", "is no path"),
        ("[[sql.code]]\npath = 'code'\ntargets = ['u']", "7:12", "there is no target `u`"),
        ("[sql.rules]\ndrop-tables = 'off'", "6:1", "there is no rule `drop-tables` among the shipped ones: they are drop-table, "),
        ("[sql.rules]\ngrant = 'on'", "6:9", "unknown value `on`"),
        ("[[rule]]\nid = 'grants'\nmode = 'off'\nsources = ['a']", "6:6", "there is no rule `grants`"),
        ("[[rule]]\nid = 'grant'\nsources = ['a']", "5:1", "missing key `mode`"),
        ("[[rule]]\nid = 'grant'\nmode = 'off'", "5:1", "write  grant = \"off\"  under [sql.rules]"),
        ("[[rule]]\nid = 'grant'\nmode = 'off'\nsources = ['b']", "8:12", "no listed source is called `b`"),
        ("[[rule]]\nid = 'grant'\nmode = 'off'\ntargets = ['u']", "8:12", "there is no target `u`"),
        ("[[rule]]\nid = 'r'\nregex = 'x'\nwhy = 'w'\nrefuses = ['x']", "7:1", "a rule with a regex of your own is a [[pattern]]"),
    ]
    .into_iter()
    .map(|(text, place, words)| (text.to_owned(), place, words))
    .chain([
        (format!("{rule}regex = '('\nrefuses = ['SELECT 1']"), "8:9", "this is no regex"),
        (format!("{rule}regex = '(a{{1000}}){{1000}}'\nrefuses = ['SELECT 1']"), "8:9", "grows too large"),
        (format!("{rule}regex = 'a*'\nrefuses = ['SELECT 1']"), "8:9", "would refuse every statement"),
        (format!("{rule}regex = 'a'\nrefuses = []"), "9:11", "give at least one"),
        (format!("{rule}regex = 'a'\nrefuses = ['SELECT a', 'SELECT b /* a */']"), "9:24", "does not match this"),
        (format!("{rule}regex = 'a'\nrefuses = ['a']"), "9:12", "does not match this"),
        (format!("{rule}regex = 'a'\nrefuses = ['SELECT a']\nallows = ['SELECT 1; SELECT cat']"), "10:11", "matches this"),
        (
            format!("{rule}regex = 'a'\nrefuses = ['SELECT a']\n{rule}regex = 'a'\nrefuses = ['SELECT a']"),
            "11:6",
            "rule `r` stands in p.toml:6 already",
        ),
        (format!("{rule}regex = 'a'\nrefuses = ['SELECT a']\nmode = 'on'"), "10:8", "unknown value `on`"),
        (format!("{rule}regex = 'a'\nrefuses = ['SELECT a']\nsources = ['b']"), "10:12", "no listed source is called `b`"),
        ("[[pattern]]\nid = 'R 1'\nwhy = ' '\nregex = 'a'\nrefuses = ['SELECT a']".to_owned(), "6:6", "is no id"),
        ("[[pattern]]\nid = 'grant'\nwhy = 'w'\nregex = 'a'\nrefuses = ['SELECT a']".to_owned(), "6:6", "is a rule that is shipped"),
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
    let tiers = given([("a.toml", "[tiers.x]\nlimit = ['1/1m']\n"), ("b.toml", "[tiers.x]\nlimit = ['2/1m']\n")]).problems();
    assert_eq!(tiers, ["b.toml:1:8: tier `x` stands in a.toml:1 already: keep one of them"]);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Half-saved and mangled files come back as problems of theirs, whatever is in them.
    #[test]
    fn no_file_is_too_broken_to_be_judged(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        gone in 0_usize..60,
        put in "[\\[\\]{}=\"'a-z0-9,.\\n #\\PC]{0,8}",
    ) {
        let mut files = files_of(&root().join("policies"));
        files.sort();
        let which = which.index(files.len());
        let text = &mut files[which].1;
        let start = at.index(text.len() + 1);
        text.replace_range(start..(start + gone).min(text.len()), &put);
        let lines = text.lines().count() + 1;
        let given = given(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        if let Err(problems) = given.load() {
            for problem in problems.as_slice() {
                prop_assert!(files.iter().any(|(name, _)| *name == problem.file), "{problem}");
                prop_assert!(problem.file != files[which].0 || problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
            }
        }
    }
}
