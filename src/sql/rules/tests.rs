//! Each rule's own examples hold.

use super::*;
use crate::sql::{Backslashes, Field, examine};

fn found(text: &str) -> Vec<&'static str> {
    examine(text, Field::Sql, Backslashes::Plain).findings.iter().map(|finding| finding.rule.id).collect()
}

#[test]
fn a_rule_finds_what_it_says_it_refuses_and_nothing_that_it_allows() {
    for rule in RULES {
        assert!(rule.refused.len() + rule.allowed.len() >= 2, "{}", rule.id);
        for text in rule.refused {
            assert!(found(text).contains(&rule.id), "{} misses {text}", rule.id);
        }
        for text in rule.allowed {
            assert_eq!(found(text), [""; 0], "{} allows {text}", rule.id);
        }
    }
}

#[test]
fn rules_are_told_apart_by_their_ids() {
    let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), RULES.len());
    for rule in RULES {
        assert_eq!(find(rule.id), Some(rule));
        assert_eq!(rule.tier == Tier::Extended, rule.pattern == rule.id, "{}: only the original's rules go by a pattern", rule.id);
    }
    assert_eq!(find("drop-everything"), None);
}
