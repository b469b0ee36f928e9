//! Where quotes and comments end, as PostgreSQL's lexer has it. Every function gets the text from behind (or, where it says so, at)
//! the opening and searches it once; `None` means that there is no end.

/// `$$` or `$tag$` at the start of the text.
pub fn dollar_tag(text: &str) -> Option<&str> {
    let body = text.strip_prefix('$')?;
    let len = body.find('$')?;
    let tag = body.get(..len)?;
    let is_tag =
        !tag.starts_with(|c: char| c.is_ascii_digit()) && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii());
    if is_tag { text.get(..len + 2) } else { None }
}

/// Comments nest. The length up to the end of the one that begins the text.
pub fn comment_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// The length up to and with the closing quote; a doubled quote is none.
pub fn quoted_end(text: &str, quote: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match (*bytes.get(at)? == quote, bytes.get(at + 1) == Some(&quote)) {
            (true, true) => at += 2,
            (true, false) => return Some(at + 1),
            (false, _) => at += 1,
        }
    }
}

pub fn plain_end(text: &str) -> Option<usize> {
    quoted_end(text, b'\'')
}

/// The end of a literal with backslash escapes. If another literal follows on a later line it is part of this one, and the
/// backslashes in it are escapes too.
pub fn escaped_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', _) | (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => match continued(text.get(at + 1..)?) {
                Some(gap) => at += 1 + gap,
                None => return Some(at + 1),
            },
            _ => at += 1,
        }
    }
}

/// The length of the gap between two parts of one literal, with the quote that opens the second: blanks and comments, and a new line.
fn continued(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, false);
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => {
                line = true;
                at += 1;
            }
            b' ' | b'\t' | 0x0B | 0x0C => at += 1,
            b'-' if bytes.get(at + 1) == Some(&b'-') => at += text.get(at..)?.find(['\n', '\r'])?,
            b'\'' if line => return Some(at + 1),
            _ => return None,
        }
    }
}

/// What a literal with backslash escapes says. Escapes that PostgreSQL would refuse come out as they may.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            if c == '\'' && rest.clone().next() == Some('\'') {
                rest.next();
            }
            continue;
        }
        let mut digits = rest.clone();
        let kind = digits.next();
        let (radix, most) = match kind {
            Some('x') => (16, 2),
            Some('u') => (16, 4),
            Some('U') => (16, 8),
            Some('0'..='7') => {
                digits = rest.clone();
                (8, 3)
            }
            _ => (0, 0),
        };
        let mut code = 0_u32;
        let mut count = 0;
        while let Some(digit) = digits.clone().next().filter(|_| count < most).and_then(|c| c.to_digit(radix)) {
            code = code.wrapping_mul(radix).wrapping_add(digit);
            count += 1;
            digits.next();
        }
        if count > 0 {
            out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = digits;
            continue;
        }
        rest.next();
        out.extend(match kind {
            Some('b' | 'f' | 'n' | 'r' | 't') => Some(' '),
            other => other,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_where_postgres_sees_it() {
        type End = fn(&str) -> Option<usize>;
        let cases: [(End, &str, Option<&str>); 16] = [
            (comment_end, "/* a /* b */ c */ d", Some(" d")),
            (comment_end, "/*/*/*/ */ */ */ d", Some(" d")),
            (comment_end, "/* ***/ d", Some(" d")),
            (comment_end, "/* a /* b */ c", None),
            (comment_end, "/*/", None),
            (plain_end, "it''s' d", Some(" d")),
            (plain_end, r"a\' d'", Some(" d'")),
            (plain_end, "it''", None),
            (escaped_end, r"a\' x' d", Some(" d")),
            (escaped_end, r"a\\' d", Some(" d")),
            (escaped_end, "a' -- c'\n 'b\\' c' d", Some(" d")),
            (escaped_end, "a' 'b", Some(" 'b")),
            (escaped_end, r"a\", None),
            (|text| dollar_tag(text).map(str::len), "$é_1$ d", Some(" d")),
            (|text| dollar_tag(text).map(str::len), "$1$ d", None),
            (|text| dollar_tag(text).map(str::len), "$a b$ d", None),
        ];
        for (end, text, rest) in cases {
            assert_eq!(end(text).and_then(|at| text.get(at..)), rest, "{text}");
        }
    }

    #[test]
    fn escapes_say_what_postgres_hears() {
        assert_eq!(unescape(r"DR\x4fP\nTABLE \'\124\u0041\U00000042\\ ''"), "DROP TABLE 'TAB\\ '");
        assert_eq!(unescape(r"\"), "");
        assert_eq!(unescape(r"\xzz"), "xzz");
    }
}
