//! What operators rely on when a verdict names a line: it is the one to change.

use eliza_gatekeeper::policy::load::Origin;

use super::{given, source};

const FILES: [(&str, &str); 3] = [
    (
        "limits.toml",
        "\
[tiers.user]
limit = ['100/1m']

[tiers.big]
limit = [
  '500/1m',
]
burst = '50 then 5/s'

[[override]]
source = 'raised'
endpoint = 'brain:*'
limit = ['900/1m']
",
    ),
    (
        "sources.toml",
        "\
[[source]]
names = [
  'plain',
  'raised',
]

[[source]]
names = ['own-*']
tier = 'big'
total = ['7/1m']

[[source]]
names = ['smooth']
tier = 'big'
total_burst = '3 then 1/s'
",
    ),
    (
        "targets.toml",
        "\
[[target]]
names = [
  'brain',
  'hands',
]
",
    ),
];

#[test]
fn whatever_decides_says_where_it_is_written() {
    let policy = given(FILES).load().unwrap();
    let cases = [
        ("plain", "sources.toml:3", ["limits.toml:2", "limits.toml:2"], ["limits.toml:2", "limits.toml:2"]),
        ("raised", "sources.toml:4", ["limits.toml:13", "limits.toml:13"], ["limits.toml:13", "limits.toml:13"]),
        ("own-1", "sources.toml:8", ["sources.toml:10", "sources.toml:10"], ["limits.toml:5", "limits.toml:8"]),
        ("smooth", "sources.toml:13", ["limits.toml:5", "sources.toml:15"], ["limits.toml:5", "limits.toml:8"]),
    ];
    for (name, place, total, endpoint) in cases {
        let source = source(&policy, name);
        assert_eq!(source.place.as_str(), place, "{name}");
        for (allowance, expected) in [(&source.total, total), (source.allowance_of("brain:think"), endpoint)] {
            assert_eq!([allowance.place.as_str(), allowance.burst_place.as_str()], expected, "{name}");
        }
    }
    for (name, place) in [("brain", "targets.toml:3"), ("hands", "targets.toml:4")] {
        assert_eq!(policy.targets.find(name).unwrap().place.as_str(), place);
    }
}

#[test]
fn what_is_as_shipped_says_so() {
    let own = given(FILES).load().unwrap();
    let shipped = given([]).load_from(&Origin::Shipped).unwrap();
    for policy in [&own, &shipped] {
        for rule in &policy.sql.rules {
            let (file, line) = rule.place.as_ref().unwrap().as_str().split_once(':').unwrap();
            assert_eq!(file, "shipped sql.toml");
            let text = std::fs::read_to_string(super::root().join("policies/sql.toml")).unwrap();
            let line = text.lines().nth(line.parse::<usize>().unwrap() - 1).unwrap();
            assert_eq!(line.split([' ', '=']).next(), Some(rule.rule.id));
        }
    }
    let places = [&source(&shipped, "gemini-chat").place, &shipped.targets.find("gemini-chat").unwrap().place];
    let files = places.map(|place| place.as_str().split(':').next().unwrap());
    assert_eq!(files, ["shipped sources.toml", "shipped targets.toml"]);
}
