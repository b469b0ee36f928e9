//! How a statement is shown, and by what it is known again: without comments, and without what its literals say.

use std::ops::Range;

use super::decode;
use super::finding::Fingerprint;
use super::lexer::{Backslash, Shape, Token};
use super::rules::Literals;
use super::tokens::{Cursor, Tokens};
use super::words::Kw;
use crate::sha256::Sha256;

/// How much of a statement is shown, in characters.
const SHOWN: usize = 500;

/// How far a statement is read for that, in bytes: one literal can be as long as the text, and every finding has its part of it to show.
const READ: usize = 16 << 10;

/// Marks what was left out at the end.
const CUT: char = '…';

/// A part of a text on one line: `?` for every literal and number, a blank where there was any. Who is used to another database writes
/// values in double quotes, which are names to PostgreSQL; where only a value makes sense they are not shown, either.
pub fn part(text: &str, span: Range<usize>, backslash: Backslash) -> String {
    let mut lists = Lists::default();
    write(text, span, backslash, SHOWN, |tokens, at, here| {
        let token = tokens.get(at)?;
        let is_of_values = lists.pass(tokens, at, here);
        let is_masked = match token.shape {
            Shape::Quoted | Shape::UnicodeQuoted => (is_of_values || is_behind_comparison(tokens, at, here)) && !is_qualified(tokens, at),
            Shape::Parameter => false,
            shape => shape.is_value(),
        };
        is_masked.then_some("?")
    })
}

/// A statement as the patterns of operators see it: literals are `''`, and all of it is there.
pub fn plain(text: &str, span: Range<usize>, backslash: Backslash) -> String {
    write(text, span, backslash, usize::MAX, |tokens, at, _| {
        let shape = tokens.get(at)?.shape;
        (shape.is_text() || shape == Shape::Bits).then_some("''")
    })
}

/// The parentheses that a place stands in: whether they hold values.
#[derive(Default)]
struct Lists {
    open: Vec<bool>,
    /// Whether those that closed last did.
    closed: bool,
}

impl Lists {
    /// Passes a token; whether it stands in a list of values.
    fn pass(&mut self, tokens: &[Token], at: usize, text: &str) -> bool {
        let here = self.open.last() == Some(&true);
        let back = |by: usize| at.checked_sub(by).and_then(|at| tokens.get(at));
        match tokens.get(at).map(|token| token.shape) {
            Some(Shape::Open) => {
                let is_named = back(1).is_some_and(|before| {
                    ["values", "in"].iter().any(|word| said(before, text).eq_ignore_ascii_case(word))
                        || said(before, text) == "="
                        || before.shape == Shape::Comma && self.closed
                });
                self.open.push(here || is_named);
            }
            Some(Shape::Close) => self.closed = self.open.pop().unwrap_or_default(),
            _ => {}
        }
        here
    }
}

/// Behind `=`, LIKE or PASSWORD there is a value.
fn is_behind_comparison(tokens: &[Token], at: usize, text: &str) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    before.is_some_and(|before| match before.shape {
        Shape::Operator => {
            let operator = said(before, text);
            operator.contains(['=', '<', '>', '~']) && operator.chars().all(|c| "=<>!~*".contains(c))
        }
        Shape::Word => ["password", "like", "ilike"].iter().any(|word| said(before, text).eq_ignore_ascii_case(word)),
        _ => false,
    })
}

/// `"a"."b"` can only be a name.
fn is_qualified(tokens: &[Token], at: usize) -> bool {
    let is_dot = |at: Option<usize>| at.and_then(|at| tokens.get(at)).is_some_and(|token| token.shape == Shape::Dot);
    is_dot(at.checked_sub(1)) || is_dot(at.checked_add(1))
}

fn said<'t>(token: &Token, text: &'t str) -> &'t str {
    text.get(token.start as usize..token.end as usize).unwrap_or_default()
}

fn write(
    text: &str,
    span: Range<usize>,
    backslash: Backslash,
    most: usize,
    mut instead: impl FnMut(&[Token], usize, &str) -> Option<&'static str>,
) -> String {
    let to = if most == usize::MAX { span.end } else { text.floor_char_boundary(span.end.min(span.start.saturating_add(READ))) };
    let Some(here) = text.get(..to) else { return String::new() };
    // What is shown is cut, so there is no use in more tokens than it can hold.
    let tokens = Tokens::read(here, span.start, most, backslash);
    let mut out = String::new();
    let (mut length, mut end) = (0, None);
    for (at, token) in tokens.list.iter().enumerate() {
        let written = said(token, here);
        let blank = if end.is_some_and(|end| end < token.start) { " " } else { "" };
        end = Some(token.end);
        for c in blank.chars().chain(instead(&tokens.list, at, here).unwrap_or(written).chars()) {
            if length >= most {
                out.push(CUT);
                return out;
            }
            out.push(if c.is_control() { ' ' } else { c });
            length += 1;
        }
    }
    if tokens.broken.is_some() || to < span.end {
        out.push(CUT);
    }
    out
}

/// By what a statement is known whatever its letter case, white space and comments; and whatever its literals, unless they matter.
pub fn fingerprint(statement: Cursor<'_>, literals: Literals) -> Fingerprint {
    finish(hash(statement, literals))
}

/// The same of what cannot be read to its end: how it goes on is part of it, byte by byte.
pub fn fingerprint_of_unread(read: Cursor<'_>, rest: &str) -> Fingerprint {
    let mut hash = hash(read, Literals::Matter);
    hash.update(rest);
    finish(hash)
}

fn finish(hash: Sha256) -> Fingerprint {
    let digest = hash.finish();
    Fingerprint(digest.iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte)))
}

fn hash(statement: Cursor<'_>, literals: Literals) -> Sha256 {
    let mut hash = Sha256::new();
    let mut add = |kind: u8, said: &[u8]| {
        hash.update([kind]);
        hash.update(u64::try_from(said.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(said);
    };
    let tokens = statement.here();
    let mut before = None;
    for (index, token) in tokens.iter().enumerate() {
        let written = statement.text_of(token);
        let is_value = token.shape.is_value();
        if is_value && literals == Literals::Data {
            // However many stand in a list, it is one list.
            let goes_on = before == Some(Shape::Comma)
                && index.checked_sub(2).and_then(|at| tokens.get(at)).is_some_and(|other| other.shape.is_value());
            if !goes_on {
                add(b'?', b"");
            }
        } else if is_value && token.shape != Shape::Number && token.shape != Shape::Parameter {
            add(b'\'', decode::literal(token.shape, written).as_bytes());
        } else {
            match token.shape {
                Shape::Comma if literals == Literals::Data && goes_between_values(tokens, index) => {}
                Shape::Word => add(b'w', decode::name(token.shape, written).as_bytes()),
                Shape::Quoted | Shape::UnicodeQuoted => {
                    let name = decode::name(token.shape, written);
                    // `"users"` is users; `"select"` is no keyword.
                    let kind = if Kw::of(&name) == Kw::NONE { b'w' } else { b'q' };
                    add(kind, name.as_bytes());
                }
                _ => add(b'o', written.as_bytes()),
            }
        }
        before = Some(token.shape);
    }
    hash
}

fn goes_between_values(tokens: &[Token], comma: usize) -> bool {
    let is_value = |at: Option<usize>| at.and_then(|at| tokens.get(at)).is_some_and(|token| token.shape.is_value());
    is_value(comma.checked_sub(1)) && is_value(comma.checked_add(1))
}
