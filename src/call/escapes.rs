//! What escapes in a quoted string stand for: those of JSON and, beyond them, those that programming languages have in common.

use std::borrow::Cow;

/// What a backslash before a letter without a meaning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Itself, as in Python.
    Kept,
    /// Nothing, as in JavaScript.
    Dropped,
}

/// Whatever cannot be read becomes a mark, as a reader that does not refuse it would have it.
pub fn unescaped(text: &str, unknown: Unknown) -> Cow<'_, str> {
    let Some(first) = text.find('\\') else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut next = Some(first);
    while let Some((before, escape)) = next.and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let mut chars = escape.chars();
        chars.next();
        let Some(c) = chars.next() else { return Cow::Owned(out) };
        let digits = chars.as_str();
        rest = match c {
            'n' => said(&mut out, '\n', digits),
            'r' => said(&mut out, '\r', digits),
            't' => said(&mut out, '\t', digits),
            'b' => said(&mut out, '\u{8}', digits),
            'f' => said(&mut out, '\u{c}', digits),
            'v' => said(&mut out, '\u{b}', digits),
            'a' => said(&mut out, '\u{7}', digits),
            // A line that goes on.
            '\r' => digits.strip_prefix('\n').unwrap_or(digits),
            '\n' => digits,
            '0'..='7' => coded(&mut out, chars_from(escape, 1), 1..=3, 8),
            'x' => coded(&mut out, digits, 2..=2, 16),
            'U' => coded(&mut out, digits, 8..=8, 16),
            'u' => match digits.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
                Some((code, behind)) if !code.is_empty() && code.len() <= 8 => {
                    coded(&mut out, code, code.len()..=code.len(), 16);
                    behind
                }
                _ => utf16(&mut out, digits),
            },
            c if c.is_ascii_punctuation() || unknown == Unknown::Dropped => said(&mut out, c, digits),
            c => {
                out.push('\\');
                said(&mut out, c, digits)
            }
        };
        next = rest.find('\\');
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn chars_from(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or_default()
}

fn said<'t>(out: &mut String, c: char, rest: &'t str) -> &'t str {
    out.push(c);
    rest
}

/// A character by its number. Where there is none, the escape is passed over and what follows is read as it stands.
fn coded<'t>(out: &mut String, text: &'t str, digits: std::ops::RangeInclusive<usize>, radix: u32) -> &'t str {
    let length = text.chars().take(*digits.end()).take_while(|c| c.is_digit(radix)).count();
    let code = text.get(..length).filter(|_| digits.contains(&length)).and_then(|code| u32::from_str_radix(code, radix).ok());
    let Some(code) = code else { return said(out, char::REPLACEMENT_CHARACTER, text) };
    said(out, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), chars_from(text, length))
}

/// Four digits, or twice four where the first are half a pair.
fn utf16<'t>(out: &mut String, digits: &'t str) -> &'t str {
    let four = |text: &'t str| {
        let code = text.get(..4).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((u16::from_str_radix(code, 16).ok()?, chars_from(text, 4)))
    };
    let Some((first, rest)) = four(digits) else { return said(out, char::REPLACEMENT_CHARACTER, digits) };
    let second = rest.strip_prefix("\\u").and_then(four);
    let pair = second.and_then(|(second, rest)| Some((char::decode_utf16([first, second]).next()?.ok()?, rest)));
    match pair.filter(|(c, _)| u32::from(*c) > 0xFFFF) {
        Some((c, rest)) => said(out, c, rest),
        None => said(out, char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER), rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_their_languages_read_them() {
        let cases = [
            ("", ""),
            ("plain é", "plain é"),
            (r#"a\"b\\c\/d\'e"#, r#"a"b\c/d'e"#),
            (r"\b\f\n\r\t\v\a", "\u{8}\u{c}\n\r\t\u{b}\u{7}"),
            (r"\u0044\u00e9\u20AC\ud83d\ude00x", "Dé€😀x"),
            (r"\ud800x\udc00\ud800\u0041", "\u{FFFD}x\u{FFFD}\u{FFFD}A"),
            (r"\u{44}\u{1F600}\u{110000}", "D😀\u{FFFD}"),
            (r"\u00g0\u12", "\u{FFFD}00g0\u{FFFD}12"),
            (r"\x44ROP\104\0\1019\U0001F600", "DROPD\0A9😀"),
            (r"\x4", "\u{FFFD}4"),
            ("a\\\nb\\\r\nc", "abc"),
            ("end\\", "end"),
            ("\\é", "é"),
        ];
        for (text, wanted) in cases {
            assert_eq!(unescaped(text, Unknown::Dropped), wanted, "{text}");
        }
        assert_eq!(unescaped(r"\D\d\-", Unknown::Dropped), "Dd-");
        assert_eq!(unescaped(r"\D\d\-", Unknown::Kept), r"\D\d-");
    }
}
