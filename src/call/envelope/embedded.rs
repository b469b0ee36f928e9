//! JSON in a string. Whoever reads it next may not be as strict as JSON is, so numbers that are none, halves of characters and whatever
//! nesting are no reason not to look inside: a value that one reader refuses must not hide another from us that others read.

use std::borrow::Cow;

use super::super::escapes::{Unknown, unescaped};
use super::super::fields::Under;
use super::pieces::Bare;
use super::walk::Walk;
use crate::verdict::Failure;

/// What stands deeper has no place of its own. Which names it stands under nobody looks at there, so all of it is SQL.
const DEPTH: usize = 256;

/// Whether a text may be JSON and no mere number or word.
pub fn is_json(text: &str) -> bool {
    // Most strings are told by their first byte.
    if !matches!(text.as_bytes().first(), Some(b'{' | b'[' | b'"' | b' ' | b'\t' | b'\r' | b'\n')) {
        return false;
    }
    let text = text.trim_ascii().as_bytes();
    matches!((text.first(), text.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) | (Some(b'"'), Some(b'"')))
}

/// What is open, and what its values stand under.
struct Open {
    bracket: Bracket,
    under: Under,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Object,
    Array,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Or the end of an array.
    Value,
    /// Or the end of the object.
    Name,
    Colon,
    /// A comma, or an end.
    Comma,
}

/// Gathers what stands in a text. Whether it is JSON as a whole; if it is not, what was gathered is of no use.
pub fn read(walk: &mut Walk<'_, '_>, text: &str, under: Under) -> Result<bool, Failure> {
    Ok(value(walk, text, under)?.is_some_and(str::is_empty))
}

/// The same with the value that a text begins with, and what follows it.
pub fn value<'t>(walk: &mut Walk<'_, '_>, text: &'t str, under: Under) -> Result<Option<&'t str>, Failure> {
    let mut open: Vec<Open> = Vec::new();
    // Brackets beyond the depth.
    let mut deeper = 0_usize;
    let (mut next, mut under) = (Next::Value, under);
    let mut rest = text.trim_ascii_start();
    while let Some((token, behind)) = token(rest) {
        rest = behind.trim_ascii_start();
        match (token, next) {
            (Token::String(text), _) if deeper > 0 => walk.string(&text, Under::Sql)?,
            (Token::Open(_), _) if deeper > 0 => deeper += 1,
            (Token::Close(_), _) if deeper > 0 => {
                deeper -= 1;
                next = Next::Comma;
            }
            (_, _) if deeper > 0 => {}
            (Token::Open(_), Next::Value) if open.len() == DEPTH => deeper = 1,
            (Token::Open(bracket), Next::Value) => {
                open.push(Open { bracket, under });
                if bracket == Bracket::Array {
                    under = walk.open_array(under);
                } else {
                    walk.open_object();
                    next = Next::Name;
                }
            }
            (Token::String(name), Next::Name) => {
                under = walk.enter_member(name.as_bytes(), under);
                next = Next::Colon;
            }
            (Token::Colon, Next::Colon) => next = Next::Value,
            (Token::String(text), Next::Value) => {
                walk.string(&text, under)?;
                next = Next::Comma;
            }
            (Token::Bare(word), Next::Value) => {
                if let Some(value) = Bare::parse(word).filter(|_| under == Under::Sql) {
                    walk.bare(value, under)?;
                }
                next = Next::Comma;
            }
            (Token::Comma, Next::Comma) => match open.last() {
                Some(Open { bracket: Bracket::Object, under: around }) => {
                    (under, next) = (*around, Next::Name);
                }
                Some(Open { bracket: Bracket::Array, .. }) => {
                    walk.next_item();
                    next = Next::Value;
                }
                None => return Ok(None),
            },
            (Token::Close(bracket), _) => {
                let Some(closed) = open.pop().filter(|open| open.bracket == bracket) else { return Ok(None) };
                match (bracket, next) {
                    (Bracket::Object, Next::Comma | Next::Name) => walk.close_any_object(),
                    (Bracket::Array, Next::Comma | Next::Value) => walk.close_array().map_err(|failure| *failure)?,
                    (Bracket::Object, Next::Value | Next::Colon) | (Bracket::Array, Next::Name | Next::Colon) => return Ok(None),
                }
                (under, next) = (closed.under, Next::Comma);
            }
            _ => return Ok(None),
        }
        if open.is_empty() && deeper == 0 {
            break;
        }
    }
    Ok((open.is_empty() && deeper == 0 && next == Next::Comma).then_some(rest))
}

enum Token<'t> {
    Open(Bracket),
    Close(Bracket),
    Colon,
    Comma,
    String(Cow<'t, str>),
    /// A number, `true`, `NaN`.
    Bare(&'t str),
}

/// What a text begins with, and what follows that.
fn token(text: &str) -> Option<(Token<'_>, &str)> {
    let first = *text.as_bytes().first()?;
    let token = match first {
        b'{' => Token::Open(Bracket::Object),
        b'}' => Token::Close(Bracket::Object),
        b'[' => Token::Open(Bracket::Array),
        b']' => Token::Close(Bracket::Array),
        b':' => Token::Colon,
        b',' => Token::Comma,
        b'"' => return string(text),
        _ => {
            let is_bare = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_');
            let length = text.bytes().take_while(is_bare).count();
            return if length == 0 { None } else { text.split_at_checked(length).map(|(word, behind)| (Token::Bare(word), behind)) };
        }
    };
    Some((token, text.get(1..)?))
}

fn string(text: &str) -> Option<(Token<'_>, &str)> {
    let body = text.get(1..)?;
    let bytes = body.as_bytes();
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|b| matches!(b, b'"' | b'\\'))?;
        if bytes.get(at) == Some(&b'"') {
            break;
        }
        at += 2;
    }
    Some((Token::String(unescaped(body.get(..at)?, Unknown::Dropped)), body.get(at + 1..)?))
}
