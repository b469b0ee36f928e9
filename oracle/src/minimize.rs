//! The least text that still shows a disagreement, and which of them are one.

use crate::check::{Disagreement, check};

/// Checks spent on one text.
const CHECKS: usize = 3000;

/// Leaves out what the disagreement does not need: halves, quarters, at last single pieces.
pub fn minimize(text: &str, disagreement: &Disagreement) -> String {
    let mut left = CHECKS;
    let mut still = |text: &str| {
        left = left.saturating_sub(1);
        left > 0 && check(text).disagreement.is_some_and(|other| other.class == disagreement.class && is_alike(&other, disagreement))
    };
    let mut least = text.to_owned();
    let plain = text.to_lowercase();
    if still(&plain) {
        least = plain;
    }
    let mut pieces: Vec<String> = pieces(&least).into_iter().map(str::to_owned).collect();
    loop {
        let before = pieces.clone();
        let mut size = (pieces.len() / 2).max(1);
        loop {
            let mut at = 0;
            while at < pieces.len() {
                let end = (at + size).min(pieces.len());
                // Gone, or at least a blank.
                let without = [&pieces[..at], &pieces[end..]].concat();
                let blank = [&pieces[..at], &[" ".to_owned()], &pieces[end..]].concat();
                if still(&without.concat()) {
                    pieces = without;
                } else if pieces[at..end] != [" "] && pieces[at..end].concat() != "\n" && still(&blank.concat()) {
                    pieces = blank;
                    at += 1;
                } else {
                    at = end;
                }
            }
            if size == 1 {
                break;
            }
            size /= 2;
        }
        for at in 0..pieces.len() {
            if pieces[at].chars().count() > 1 && pieces[at].starts_with(char::is_alphanumeric) {
                let whole = std::mem::replace(&mut pieces[at], "a".to_owned());
                if !still(&pieces.concat()) {
                    pieces[at] = whole;
                }
            }
        }
        if pieces == before {
            break;
        }
    }
    pieces.concat()
}

/// Times differ from run to run.
fn is_alike(one: &Disagreement, other: &Disagreement) -> bool {
    one.detail == other.detail || one.class == crate::Class::Hang
}

/// Disagreements of one shape have one cause, most likely.
pub fn shape(text: &str, disagreement: &Disagreement) -> String {
    let form = pg_query::fingerprint(text).map_or_else(|_| text.to_ascii_lowercase(), |fingerprint| fingerprint.hex);
    format!("{} {} {form}", disagreement.class.as_str(), disagreement.detail)
}

/// Words, blanks and single signs.
pub fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_alike = |c: char| {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            is_word(first) && is_word(c) || first.is_whitespace() && c.is_whitespace()
        };
        let end = rest.char_indices().skip(1).find(|(_, c)| !is_alike(*c)).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
