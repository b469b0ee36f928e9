//! The project's own corpus of SQL: whatever spelling a dangerous statement is in, its rule finds it; harmless statements and prose pass.
//! `tests/corpus/refuse/<rule>/` and `allow/` hold what a field of SQL says, `text/` what any other field says; a file's name says why.
//! What the shipped policy only observes is found and passes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use eliza_gatekeeper::sql::rules::{RULES, find};
use eliza_gatekeeper::sql::{Backslashes, Field, examine};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Names and texts, in order.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect()
}

fn found(text: &str, field: Field) -> BTreeSet<&'static str> {
    examine(text, field, Backslashes::Plain).findings.into_iter().map(|finding| finding.rule.id).collect()
}

/// What of it the shipped policy refuses.
fn refused(text: &str, field: Field) -> BTreeSet<&'static str> {
    let shipped: toml::Table = include_str!("../../policies/sql.toml").parse().unwrap();
    found(text, field).into_iter().filter(|id| shipped["sql"]["rules"][id].as_str() == Some("enforce")).collect()
}

#[test]
fn every_rule_finds_what_is_its_own_however_it_is_spelled() {
    let folder = corpus().join("refuse");
    let mut missed = Vec::new();
    for rule in RULES {
        let texts = texts(&folder.join(rule.id));
        assert!(texts.len() >= 6, "{} has {} texts", rule.id, texts.len());
        missed.extend(texts.into_iter().map(|(name, text)| (name, found(&text, Field::Sql))).filter(|(_, found)| !found.contains(rule.id)));
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_folder_is_a_rule() {
    for folder in std::fs::read_dir(corpus().join("refuse")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(find(&name).is_some(), "{name}");
    }
}

#[test]
fn harmless_statements_and_prose_pass() {
    let texts = texts(&corpus().join("allow"));
    assert!(texts.len() >= 100);
    let alarms: Vec<_> =
        texts.into_iter().map(|(name, text)| (name, refused(&text, Field::Sql))).filter(|(_, found)| !found.is_empty()).collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}

#[test]
fn what_is_harmless_in_a_field_of_sql_is_harmless_in_any() {
    let texts = texts(&corpus().join("allow"));
    let alarms: Vec<_> =
        texts.into_iter().map(|(name, text)| (name, refused(&text, Field::Text))).filter(|(_, found)| !found.is_empty()).collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}

#[test]
fn a_text_that_as_a_whole_is_sql_is_judged_whatever_its_field() {
    let texts = texts(&corpus().join("text/refuse"));
    assert!(texts.len() >= 15);
    let missed: Vec<_> = texts.into_iter().filter(|(_, text)| found(text, Field::Text).is_empty()).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn prose_that_speaks_of_sql_passes_in_other_fields() {
    let texts = texts(&corpus().join("text/allow"));
    assert!(texts.len() >= 15);
    let alarms: Vec<_> =
        texts.into_iter().map(|(name, text)| (name, refused(&text, Field::Text))).filter(|(_, found)| !found.is_empty()).collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}
