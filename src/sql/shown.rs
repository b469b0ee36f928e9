//! How a statement is shown, and by what it is known again: without comments, and without what its literals say.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::decode;
use super::finding::Fingerprint;
use super::lexer::{Backslash, Shape, Token};
use super::rules::Literals;
use super::tokens::{Cursor, Tokens};
use super::words::Kw;

/// How much of a statement is shown, in characters.
const SHOWN: usize = 500;

/// Marks what was left out at the end.
const CUT: char = '…';

/// A part of a text on one line: `?` for every literal and number, a blank where there was any.
pub fn part(text: &str, span: Range<usize>, backslash: Backslash) -> String {
    write(text, span, backslash, SHOWN, |token, _| match token.shape {
        Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar | Shape::Bits | Shape::Number => Some("?"),
        _ => None,
    })
}

/// A statement as the patterns of operators see it: literals are `''`, and all of it is there.
pub fn plain(text: &str, span: Range<usize>, backslash: Backslash) -> String {
    write(text, span, backslash, usize::MAX, |token, _| match token.shape {
        Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar | Shape::Bits => Some("''"),
        _ => None,
    })
}

fn write(
    text: &str,
    span: Range<usize>,
    backslash: Backslash,
    most: usize,
    instead: impl Fn(&Token, &str) -> Option<&'static str>,
) -> String {
    let Some(here) = text.get(..span.end) else { return String::new() };
    // What is shown is cut, so there is no use in more tokens than it can hold.
    let tokens = Tokens::read(here, span.start, most, backslash);
    let mut out = String::new();
    let (mut length, mut end) = (0, None);
    for token in &tokens.list {
        let written = here.get(token.start as usize..token.end as usize).unwrap_or_default();
        let blank = if end.is_some_and(|end| end < token.start) { " " } else { "" };
        end = Some(token.end);
        for c in blank.chars().chain(instead(token, written).unwrap_or(written).chars()) {
            if length >= most {
                out.push(CUT);
                return out;
            }
            out.push(if c.is_control() { ' ' } else { c });
            length += 1;
        }
    }
    if tokens.broken.is_some() {
        out.push(CUT);
    }
    out
}

/// By what a statement is known whatever its letter case, white space and comments; and whatever its literals, unless they matter.
pub fn fingerprint(statement: Cursor<'_>, literals: Literals) -> Fingerprint {
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
        let is_value = matches!(
            token.shape,
            Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar | Shape::Bits | Shape::Number | Shape::Parameter
        );
        if is_value && literals == Literals::Data {
            // However many stand in a list, it is one list.
            let goes_on = before == Some(Shape::Comma)
                && index.checked_sub(2).and_then(|at| tokens.get(at)).is_some_and(|other| {
                    matches!(
                        other.shape,
                        Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar | Shape::Bits | Shape::Number | Shape::Parameter
                    )
                });
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
    let digest = hash.finalize();
    Fingerprint(digest.iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte)))
}

fn goes_between_values(tokens: &[Token], comma: usize) -> bool {
    let is_value = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| {
            matches!(
                token.shape,
                Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar | Shape::Bits | Shape::Number | Shape::Parameter
            )
        })
    };
    is_value(comma.checked_sub(1)) && is_value(comma.checked_add(1))
}
