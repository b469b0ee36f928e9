//! String literals in code. What a program hands to a database stands in its literals, so each of them is judged like a string of the
//! call itself. Which language it is nobody says: Python, JavaScript and their kin quote alike.

/// Of one piece of code. Where there are more, the rest is taken as one.
const LITERALS: usize = 4096;

/// What each literal says, in order; and what those say together that stand side by side, with nothing, a `+` or a line break between.
pub fn literals(code: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut together: Option<String> = None;
    let mut rest = code;
    while let Some(open) = rest.find(['\'', '"', '`']) {
        if found.len() >= LITERALS {
            found.push(rest.to_owned());
            break;
        }
        let between = rest.get(..open).unwrap_or_default();
        let Some((said, behind)) = literal(rest.get(open..).unwrap_or_default()) else {
            // It opens none, as an apostrophe in a comment.
            rest = rest.get(open + 1..).unwrap_or_default();
            continue;
        };
        let goes_on = !found.is_empty()
            && between
                .trim_matches(|c: char| c.is_whitespace() || matches!(c, '+' | '\\' | 'f' | 'r' | 'b' | 'u' | 'F' | 'R' | 'B' | 'U'))
                .is_empty();
        match (&mut together, goes_on) {
            (Some(all), true) => all.push_str(&said),
            (None, true) => together = found.last().map(|first| format!("{first}{said}")),
            (all, false) => found.extend(all.take()),
        }
        found.push(said);
        rest = behind;
    }
    found.extend(together);
    found
}

/// What the literal that opens here says, and what stands behind it.
fn literal(text: &str) -> Option<(String, &str)> {
    for quote in ["\"\"\"", "'''", "\"", "'", "`"] {
        let Some(body) = text.strip_prefix(quote) else { continue };
        let is_long = quote.len() == 3 || quote == "`";
        let mut said = String::new();
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => said.push('\n'),
                    Some((_, 't' | 'r')) => said.push(' '),
                    // A line that goes on.
                    Some((_, '\n')) => {}
                    Some((_, 'x')) => said.extend(coded(&mut chars, 2)),
                    Some((_, 'u')) => said.extend(coded(&mut chars, 4)),
                    Some((_, other)) => said.push(other),
                    None => return None,
                },
                '\n' if !is_long => return None,
                _ if body.get(at..).is_some_and(|rest| rest.starts_with(quote)) => {
                    return Some((said, body.get(at + quote.len()..)?));
                }
                c => said.push(c),
            }
        }
        return None;
    }
    None
}

fn coded(chars: &mut std::str::CharIndices<'_>, digits: usize) -> Option<char> {
    let text: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_literal_is_found_and_those_side_by_side_together() {
        let cases: [(&str, &[&str]); 10] = [
            ("db.run('DROP TABLE a')", &["DROP TABLE a"]),
            ("x = \"a\\\"b\" # it's\ny = 'c'", &["a\"b", "c"]),
            ("q = \"\"\"DELETE\nFROM a\"\"\"", &["DELETE\nFROM a"]),
            ("run(`DROP ${x} TABLE`)", &["DROP ${x} TABLE"]),
            ("run('DROP ' + 'TABLE a')", &["DROP ", "TABLE a", "DROP TABLE a"]),
            ("run('DROP ' \\\n 'TABLE ' f'a')", &["DROP ", "TABLE ", "a", "DROP TABLE a"]),
            ("a('x', 'y')", &["x", "y"]),
            ("'\\x44ROP \\u0054ABLE a'", &["DROP TABLE a"]),
            ("print(1)", &[]),
            ("r'''a''' 'b", &["a"]),
        ];
        for (code, expected) in cases {
            assert_eq!(literals(code), expected, "{code}");
        }
    }
}
