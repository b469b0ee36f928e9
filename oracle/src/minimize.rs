//! The least text that still shows a disagreement, and which of them are one.

use crate::check::{Class, Disagreement, check};

/// Checks spent on one text: about a second.
const CHECKS: usize = 15_000;

/// Stretches of this many pieces are tried at every place, longer ones side by side.
const SLIDING: usize = 12;

/// Leaves out what the disagreement does not need: whole statements, halves, quarters, at last single pieces.
pub fn minimize(text: &str, disagreement: &Disagreement) -> String {
    let mut least = Least { pieces: vec![text.to_owned()], disagreement, left: CHECKS };
    least.attempt(vec![text.to_lowercase()]);
    for mark in [";", "(", ""] {
        let pieces = least.pieces.concat();
        least.pieces = if mark.is_empty() { pieces_of(&pieces) } else { pieces.split_inclusive(mark).map(str::to_owned).collect() };
        least.reduce();
    }
    least.pieces.concat()
}

struct Least<'d> {
    pieces: Vec<String>,
    disagreement: &'d Disagreement,
    left: usize,
}

impl Least<'_> {
    fn attempt(&mut self, pieces: Vec<String>) -> bool {
        self.left = self.left.saturating_sub(1);
        let text = pieces.concat();
        let is_still = self.left > 0 && check(&text).disagreement.is_some_and(|other| is_alike(&other, self.disagreement));
        if is_still {
            self.pieces = pieces;
        }
        is_still
    }

    fn reduce(&mut self) {
        loop {
            let before = self.pieces.clone();
            let mut size = (self.pieces.len() / 2).max(1);
            while size > 0 {
                let mut at = 0;
                while at < self.pieces.len() {
                    let end = (at + size).min(self.pieces.len());
                    let with = |between: &[String]| [&self.pieces[..at], between, &self.pieces[end..]].concat();
                    let (without, blank) = (with(&[]), with(&[" ".to_owned()]));
                    let is_blank = self.pieces[at..end].iter().all(|piece| piece == " ");
                    if !self.attempt(without) && (is_blank || !self.attempt(blank)) {
                        at += if size > SLIDING { size } else { 1 };
                    }
                }
                size = if size > SLIDING { size / 2 } else { size - 1 };
            }
            for at in 0..self.pieces.len() {
                if self.pieces[at].chars().count() > 1 && self.pieces[at].starts_with(char::is_alphanumeric) {
                    let mut simpler = self.pieces.clone();
                    simpler[at] = "a".to_owned();
                    self.attempt(simpler);
                }
            }
            if self.pieces == before || self.left == 0 {
                break;
            }
        }
    }
}

fn pieces_of(text: &str) -> Vec<String> {
    pieces(text).into_iter().map(str::to_owned).collect()
}

/// Times differ from run to run.
fn is_alike(one: &Disagreement, other: &Disagreement) -> bool {
    one.class == other.class && (one.detail == other.detail || one.class == Class::Hang)
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
