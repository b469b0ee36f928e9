//! Where the judge and PostgreSQL disagree about a text; the worst first.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use eliza_gatekeeper::sql::{Backslashes, Field, Judgement, Kind, examine};

use crate::facts::{Oracle, classify};

/// For a text below a megabyte. Whoever shares the machine can make one run slow, hardly the best of several.
const BOUND: Duration = Duration::from_millis(50);
const AGAIN: usize = 5;

/// Findings of one text: the judge stops somewhere, so that a text cannot make it keep millions.
const FINDINGS: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Something must be found, and nothing at all is: it would be let through.
    Miss,
    Panic,
    Hang,
    /// A span outside of the text or inside of a character, or findings without end.
    Bounds,
    /// Something is found, but not all that must be: an exception for the one would let the other through.
    WrongRule,
    /// PostgreSQL accepts it, nothing in it is dangerous, and something is found.
    FalseAlarm,
    /// As a field that is not known to hold SQL, a text that as a whole is dangerous SQL is let through.
    TextMiss,
    /// Another number of statements.
    Count,
    Kind,
}

impl Class {
    pub const ALL: [Self; 9] =
        [Self::Miss, Self::Panic, Self::Hang, Self::Bounds, Self::WrongRule, Self::FalseAlarm, Self::TextMiss, Self::Count, Self::Kind];

    /// Whether a caller could use it.
    pub const fn is_a_hole(self) -> bool {
        matches!(self, Self::Miss | Self::Panic | Self::Hang | Self::Bounds)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Panic => "PANIC",
            Self::Hang => "HANG",
            Self::Bounds => "BOUNDS",
            Self::WrongRule => "WRONG RULE",
            Self::FalseAlarm => "FALSE ALARM",
            Self::TextMiss => "MISS AS TEXT",
            Self::Count => "COUNT",
            Self::Kind => "KIND",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disagreement {
    pub class: Class,
    pub detail: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class.as_str(), self.detail)
    }
}

#[derive(Clone, Debug)]
pub struct Checked {
    /// None, if PostgreSQL rejects the text.
    pub oracle: Option<Oracle>,
    pub disagreement: Option<Disagreement>,
}

/// The worst disagreement about a text, in words.
pub fn disagreement(sql: &str) -> Option<String> {
    check(sql).disagreement.map(|disagreement| format!("{disagreement}\n{sql}"))
}

pub fn check(sql: &str) -> Checked {
    let oracle = classify(sql);
    let disagreement = compare(sql, oracle.as_ref()).err();
    Checked { oracle, disagreement }
}

fn compare(sql: &str, oracle: Option<&Oracle>) -> Result<(), Disagreement> {
    let judged = judged(sql, Field::Sql)?;
    let as_text = self::judged(sql, Field::Text)?;
    let Some(oracle) = oracle else { return Ok(()) };
    let found: BTreeSet<&str> = judged.findings.iter().map(|finding| finding.rule.id).collect();

    if !oracle.must.is_empty() && found.is_empty() {
        return Err(of(Class::Miss, list(oracle.must.iter())));
    }
    let missing: Vec<&&str> = oracle.must.iter().filter(|rule| !found.contains(**rule)).collect();
    if !missing.is_empty() {
        return Err(of(Class::WrongRule, format!("{} is found, {} is not", list(found.iter()), list(missing.into_iter()))));
    }
    let extra: Vec<&&str> = found.iter().filter(|rule| !oracle.must.contains(**rule) && !oracle.may.contains(**rule)).collect();
    if !extra.is_empty() && !oracle.is_opaque && !has_odd_blanks(sql) {
        return Err(of(Class::FalseAlarm, list(extra.into_iter())));
    }
    if !oracle.must.is_empty() && as_text.findings.is_empty() {
        return Err(of(Class::TextMiss, list(oracle.must.iter())));
    }
    if has_odd_blanks(sql) || oracle.counts_are_open {
        return Ok(());
    }
    if judged.statements.len() != oracle.kinds.len() {
        return Err(of(Class::Count, format!("{} statements, to PostgreSQL {}", judged.statements.len(), oracle.kinds.len())));
    }
    for (statement, right) in judged.statements.iter().zip(&oracle.kinds) {
        if !right.contains(&statement.kind) {
            let right: Vec<&str> = right.iter().map(|kind| kind.as_str()).collect();
            return Err(of(Class::Kind, format!("{}, to PostgreSQL {}", statement.kind.as_str(), list(right.iter()))));
        }
    }
    Ok(())
}

/// Judges, and holds what must hold for any text.
fn judged(sql: &str, field: Field) -> Result<Judgement, Disagreement> {
    let judge = || catch_unwind(AssertUnwindSafe(|| examine(sql, field, Backslashes::Plain)));
    let started = Instant::now();
    let judgement = judge().map_err(|cause| {
        let said = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        of(Class::Panic, said.unwrap_or("for no reason given").to_owned())
    })?;
    let mut took = started.elapsed();
    for _ in 0..AGAIN {
        if took <= BOUND || sql.len() > 1 << 20 {
            break;
        }
        let started = Instant::now();
        let _ = judge();
        took = took.min(started.elapsed());
    }
    if took > BOUND && sql.len() <= 1 << 20 {
        return Err(of(Class::Hang, format!("{} bytes take {} ms", sql.len(), took.as_millis())));
    }
    if judgement.findings.len() > FINDINGS {
        return Err(of(Class::Bounds, format!("more than {FINDINGS} findings")));
    }
    let spans = judgement.findings.iter().map(|finding| &finding.span).chain(judgement.statements.iter().map(|statement| &statement.span));
    for span in spans {
        if sql.get(span.clone()).is_none() {
            return Err(of(Class::Bounds, format!("span {span:?}")));
        }
    }
    let mut end = 0;
    for statement in &judgement.statements {
        if statement.span.start < end && statement.kind != Kind::Unreadable && !has_odd_blanks(sql) {
            return Err(of(Class::Bounds, "statements that overlap".to_owned()));
        }
        end = statement.span.end;
    }
    Ok(judgement)
}

/// To PostgreSQL they are letters. The judge reads a text with them in both ways, so what it finds need not be there.
fn has_odd_blanks(sql: &str) -> bool {
    let is_odd =
        |c: char| !c.is_ascii() && (c.is_whitespace() || matches!(c, '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'));
    sql.contains(is_odd)
}

fn of(class: Class, detail: String) -> Disagreement {
    Disagreement { class, detail }
}

fn list<'a>(words: impl Iterator<Item = &'a &'a str>) -> String {
    words.copied().collect::<Vec<_>>().join(", ")
}
