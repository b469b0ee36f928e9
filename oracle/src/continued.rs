//! Literals that go on over a comment: `'a' -- b` and on the next line `'c'` are one literal. libpg_query keeps comments as tokens, and so
//! takes these for two, which PostgreSQL does not. Blanks instead of such comments make it read what PostgreSQL reads.

use std::borrow::Cow;

use pg_query::protobuf::Token;

pub fn without_comments_between_literals(sql: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(sql);
    let mut at = 0;
    while let Some(quote) = text.get(at..).and_then(|rest| rest.find('\'')).map(|found| at + found) {
        at = quote + 1;
        let Some(comments) = comments_before_a_quote(&text, at) else { continue };
        if !ends_a_literal(&text[..at]) {
            continue;
        }
        let mut bytes = text.into_owned().into_bytes();
        for comment in comments {
            bytes[comment].fill(b' ');
        }
        text = Cow::Owned(String::from_utf8(bytes).expect("blanks for whole characters"));
    }
    text
}

/// Where comments stand, if from here on nothing else does up to the quote where a literal would go on.
fn comments_before_a_quote(text: &str, from: usize) -> Option<Vec<std::ops::Range<usize>>> {
    let bytes = text.as_bytes();
    let mut comments = Vec::new();
    let mut at = from;
    loop {
        match bytes.get(at)? {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => at += 1,
            b'\'' => return (!comments.is_empty()).then_some(comments),
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                let end = at + bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
                comments.push(at..end);
                at = end;
            }
            _ => return None,
        }
    }
}

fn ends_a_literal(text: &str) -> bool {
    let is_literal = |token: i32| [Token::Sconst, Token::Usconst, Token::Bconst, Token::Xconst].iter().any(|kind| *kind as i32 == token);
    let scanned = pg_query::scan(text);
    scanned.is_ok_and(|scanned| scanned.tokens.last().is_some_and(|last| is_literal(last.token) && last.end as usize == text.len()))
}
