//! What a literal or a quoted name says, once its quotes and escapes are read.

use std::borrow::Cow;

use super::lexer::{Backslash, Lexer, Shape, Token};

/// As PostgreSQL keeps it: small ASCII letters where it was not quoted.
pub fn name(shape: Shape, written: &str) -> String {
    match shape {
        Shape::Quoted => inside(written, '"').replace("\"\"", "\""),
        Shape::UnicodeQuoted => {
            let (written, escape) = without_uescape(written);
            unicode(&inside(written.get(2..).unwrap_or_default(), '"').replace("\"\"", "\""), escape)
        }
        _ => written.to_ascii_lowercase(),
    }
}

/// What a literal says. What goes on over lines is put together.
pub fn literal(shape: Shape, written: &str) -> Cow<'_, str> {
    match shape {
        Shape::Dollar => {
            let tag = written.get(1..).and_then(|rest| rest.find('$')).map_or(0, |at| at + 2);
            Cow::Borrowed(written.get(tag..written.len().saturating_sub(tag)).unwrap_or_default())
        }
        Shape::Escaped => Cow::Owned(escaped(&pieces(written.get(1..).unwrap_or_default(), Escapes::Yes))),
        Shape::Unicode => {
            let (written, escape) = without_uescape(written);
            Cow::Owned(unicode(&pieces(written.get(2..).unwrap_or_default(), Escapes::No).replace("''", "'"), escape))
        }
        Shape::Bits => Cow::Borrowed(written),
        _ => {
            let quoted = written.strip_prefix(['n', 'N']).unwrap_or(written);
            match quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
                Some(plain) if !plain.contains('\'') => Cow::Borrowed(plain),
                _ => Cow::Owned(pieces(quoted, Escapes::No).replace("''", "'")),
            }
        }
    }
}

fn inside(written: &str, quote: char) -> &str {
    written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap_or(written)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Yes,
    No,
}

/// The insides of `'a' <line break> 'b'`, put together; doubled quotes are still doubled.
fn pieces(written: &str, escapes: Escapes) -> String {
    let mut out = String::with_capacity(written.len());
    let mut chars = written.chars().peekable();
    let mut open = false;
    while let Some(c) = chars.next() {
        match (open, c) {
            (true, '\\') if escapes == Escapes::Yes => {
                out.push(c);
                out.extend(chars.next());
            }
            (true, '\'') if chars.peek() == Some(&'\'') => {
                chars.next();
                out.push_str("''");
            }
            (_, '\'') => open = !open,
            (true, c) => out.push(c),
            // A comment between the pieces may hold quotes.
            (false, '-') => while chars.next_if(|c| *c != '\n' && *c != '\r').is_some() {},
            (false, _) => {}
        }
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            chars.next_if_eq(&'\'');
            out.push('\'');
            continue;
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(c) = chars.next() else { break };
        let mut digits = |radix: u32, most: usize, first: Option<char>| {
            let mut value = first.and_then(|c| c.to_digit(radix)).unwrap_or_default();
            for _ in 0..most {
                let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
                chars.next();
                value = value.wrapping_mul(radix).wrapping_add(digit);
            }
            char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        out.push(match c {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => digits(16, 2, None),
            'u' => digits(16, 4, None),
            'U' => digits(16, 8, None),
            '0'..='7' => digits(8, 2, Some(c)),
            other => other,
        });
    }
    out
}

/// What stands before `UESCAPE '!'`, and the character that it names, in a literal of any sort; the usual one where there is none.
fn without_uescape(written: &str) -> (&str, char) {
    let mut lexer = Lexer::new(written, 0, Backslash::Plain);
    let mut next = || lexer.next_token().ok().flatten();
    let (Some(named), Some(_uescape), Some(said)) = (next(), next(), next()) else { return (written, '\\') };
    let text = |token: &Token| written.get(token.start as usize..token.end as usize).unwrap_or_default();
    let escape = literal(said.shape, text(&said)).chars().next();
    (text(&named), escape.unwrap_or('\\'))
}

/// `\0041` and `\+000041`.
fn unicode(text: &str, escape: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(escape) {
        out.push_str(before);
        let (skip, length) = if after.starts_with('+') { (1, 6) } else { (0, 4) };
        let digits = after.get(skip..skip + length).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32) {
            Some(c) => {
                out.push(c);
                rest = after.get(skip + length..).unwrap_or_default();
            }
            None => {
                out.push(escape);
                rest = after.strip_prefix(escape).unwrap_or(after);
            }
        }
    }
    out.push_str(rest);
    out
}
