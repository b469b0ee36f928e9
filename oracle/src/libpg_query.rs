//! Where libpg_query reads otherwise than PostgreSQL's server does.

use std::borrow::Cow;

use pg_query::protobuf::{KeywordKind, Token};

/// `'a' -- b` and on the next line `'c'` are one literal; libpg_query keeps comments as tokens, and so takes them for two. Blanks instead of
/// such comments make it read what PostgreSQL reads.
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

/// `date $1`: libpg_query takes a parameter for the literal of a type, so that it can read what has been made anonymous. To PostgreSQL no
/// parameter stands behind a name.
pub fn has_a_parameter_for_a_literal(text: &str) -> bool {
    if !text.as_bytes().windows(2).any(|pair| pair[0] == b'$' && pair[1].is_ascii_digit()) {
        return false;
    }
    let Ok(scanned) = pg_query::scan(text) else { return false };
    let comments = [Token::SqlComment as i32, Token::CComment as i32];
    let tokens: Vec<_> = scanned.tokens.iter().filter(|token| !comments.contains(&token.token)).collect();
    tokens.windows(2).any(|pair| {
        let (before, is_parameter) = (pair[0], pair[1].token == Token::Param as i32);
        let word = text.get(before.start as usize..before.end as usize).unwrap_or_default().to_ascii_lowercase();
        let is_name = match KeywordKind::try_from(before.keyword_kind) {
            Ok(KeywordKind::NoKeyword) => [Token::Ident as i32, Token::Uident as i32, Token::Ascii41 as i32].contains(&before.token),
            Ok(KeywordKind::ReservedKeyword) => false,
            _ => !matches!(
                word.as_str(),
                "between" | "escape" | "by" | "first" | "next" | "zone" | "rows" | "range" | "groups" | "return" | "like" | "ilike"
            ),
        };
        is_parameter && is_name
    })
}
