//! Tokens as text, in every way that PostgreSQL reads as the same tokens; and tokens that are made up: names, literals.

use crate::Random;

#[derive(Clone, Debug)]
pub enum Token {
    /// In any letter case.
    Word(String),
    Exact(String),
}

const SIMPLE: [&str; 12] = ["users", "orders", "t", "id", "a1", "_x", "e", "n", "b", "tbl$1", "caf\u{e9}", "created_at"];

/// Names that are keywords elsewhere. Those that end the list can be columns and tables, but not functions or types.
const KEYWORDS: [&str; 60] = [
    "delete",
    "drop",
    "truncate",
    "update",
    "copy",
    "alter",
    "set",
    "begin",
    "commit",
    "data",
    "key",
    "type",
    "role",
    "function",
    "policy",
    "owned",
    "view",
    "trigger",
    "rule",
    "execute",
    "explain",
    "prepare",
    "merge",
    "insert",
    "declare",
    "cascade",
    "database",
    "schema",
    "name",
    "value",
    "password",
    "system",
    "program",
    "replica",
    "load",
    "lock",
    "call",
    "cursor",
    "disable",
    "enable",
    "force",
    "move",
    "no",
    "of",
    "off",
    "matched",
    "statement",
    "start",
    "session",
    "temp",
    "escape",
    "level",
    "extension",
    "sql",
    "atomic",
    "row",
    "values",
    "exists",
    "between",
    "position",
];

const RESERVED: [&str; 16] =
    ["select", "table", "where", "from", "true", "delete", "user", "do", "grant", "and", "or", "not", "end", "case", "with", "into"];

const QUOTED: [&str; 11] = [
    r#""Users""#,
    r#""select""#,
    r#""a""b""#,
    r#""drop table x""#,
    r#""it's""#,
    r#"" ; ""#,
    r#""--""#,
    r#""/*""#,
    r#""$$""#,
    r#""where""#,
    r#""\""#,
];

const UNICODE_QUOTED: [&str; 7] = [
    r#"U&"d\0061ta""#,
    r#"u&"\+000061""#,
    r#"U&"a\\b""#,
    r#"U&"d!0061ta" UESCAPE '!'"#,
    r#"U&"a""b" uescape '*'"#,
    r#"U&"d!0061ta" UESCAPE E'\x21'"#,
    r#"U&"d!0061ta" UESCAPE $$!$$"#,
];

/// What stands within literals and comments, to be taken for what it is not.
const CONTENTS: [&str; 26] = [
    "",
    "a",
    "it's",
    "; DROP TABLE users; --",
    "WHERE id = 1",
    "/*",
    "*/",
    "--",
    "$$",
    "$a$",
    "\\",
    "\\'",
    "a\\",
    "''",
    "\"",
    "U&'",
    "E'",
    "caf\u{e9}",
    "%",
    "DELETE FROM users",
    ";",
    "1",
    "true",
    "\n",
    "(",
    ") ",
];

impl Token {
    pub fn made(what: &str, random: &mut Random) -> Vec<Self> {
        let exact = |text: &str| vec![Self::Exact(text.to_owned())];
        match what {
            "simple" => vec![Self::Word(random.pick(&SIMPLE).to_owned())],
            "bare" if !random.once_in(3) => vec![Self::Word(random.pick(&SIMPLE).to_owned())],
            "bare" => exact(random.pick(&QUOTED)),
            "label" => vec![Self::Word(random.pick(&RESERVED).to_owned())],
            "name" => match random.below(10) {
                0..=4 => vec![Self::Word(random.pick(&SIMPLE).to_owned())],
                5..=7 => vec![Self::Word(random.pick(&KEYWORDS).to_owned())],
                8 => exact(random.pick(&QUOTED)),
                _ => exact(random.pick(&UNICODE_QUOTED)),
            },
            "int" => exact(random.pick(&["1", "0", "42", "007", "1_000", "0xFF", "0b101", "0o17", "99999999999"])),
            "float" => exact(random.pick(&["1.5", ".5", "1.", "1e10", "1.5E-3", "1_0.2_5"])),
            "bits" => exact(random.pick(&["B'101'", "b''", "X'1F'", "x'ab'"])),
            "file" => exact(random.pick(&["'/tmp/x'", "'curl example.org'", "E'/tmp\\x2fa'", "$$/etc/passwd$$", "U&'/tmp'"])),
            "sconst" => exact(&literal(random)),
            "string" if random.once_in(8) => exact(&format!("N'{}'", random.pick(&CONTENTS).replace('\'', "''"))),
            "string" => exact(&literal(random)),
            other => panic!("no way to make {other}"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Exact(text) => text,
        }
    }
}

fn literal(random: &mut Random) -> String {
    let said = random.pick(&CONTENTS);
    let doubled = said.replace('\'', "''");
    match random.below(12) {
        0..=4 => format!("'{doubled}'"),
        5 | 6 => format!("E'{}'", said.replace('\\', "\\\\").replace('\'', if random.once_in(2) { "\\'" } else { "''" })),
        7 => format!("U&'{}\\0061'", doubled.replace('\\', "\\\\")),
        8 => format!("U&'{doubled}!0061' UESCAPE {}", random.pick(&["'!'", "E'!'", "$x$!$x$"])),
        9 | 10 => {
            let tag = random.pick(&["$$", "$t$", "$Tag_1$", "$\u{e9}$"]);
            if said.contains('$') { format!("$other$ {said} $other$") } else { format!("{tag}{said} {tag}") }
        }
        _ => {
            let between = random.pick(&["\n", " \n ", " -- ' \n", "\r", "\n\n--\n"]);
            let (start, more) = if random.once_in(3) { ("E'", said.replace('\\', "\\\\").replace('\'', "\\'")) } else { ("'", doubled) };
            format!("{start}a'{between}'{more}'")
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Lower,
    Upper,
    Mixed,
}

pub fn render(tokens: &[Token], random: &mut Random) -> String {
    let case = random.pick(&[Case::Lower, Case::Lower, Case::Upper, Case::Mixed]);
    // Half of the texts look as people write them.
    let is_odd = random.once_in(2);
    let mut out = String::new();
    if is_odd && random.once_in(4) {
        blank(random, &mut out);
    }
    let mut last = "";
    for token in tokens {
        let text = token.text();
        if !last.is_empty() {
            if !is_odd {
                out.push(' ');
            } else if must_part(last, text) || random.once_in(2) {
                blank(random, &mut out);
            }
        }
        match (token, case) {
            (Token::Exact(text), _) => out.push_str(text),
            (Token::Word(text), Case::Lower) => out.push_str(&text.to_ascii_lowercase()),
            (Token::Word(text), Case::Upper) => out.push_str(&text.to_ascii_uppercase()),
            (Token::Word(text), Case::Mixed) => {
                out.extend(text.chars().map(|c| if random.once_in(2) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }));
            }
        }
        last = text;
    }
    if is_odd && random.once_in(4) {
        blank(random, &mut out);
    }
    out
}

/// Whether two tokens side by side would be read as one, or as others.
fn must_part(left: &str, right: &str) -> bool {
    let (Some(a), Some(b)) = (left.chars().next_back(), right.chars().next()) else { return false };
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    let is_operator = |c: char| "+-*/<>=~!@#%^&|`?:".contains(c);
    let is_prefix = left.len() == 1 && "ebnxEBNX".contains(left);
    let is_number = left.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    is_word(a) && is_word(b)
        || is_operator(a) && is_operator(b)
        || a == b && matches!(a, '\'' | '"')
        || (is_prefix || is_number) && matches!(b, '\'' | '"' | '.')
        || a == '.' && b.is_ascii_digit()
        || is_number && is_word(b)
        // `.` after a number that ends in it.
        || a == '.' && b == '.'
}

fn blank(random: &mut Random, out: &mut String) {
    for _ in 0..random.pick(&[1, 1, 1, 2, 3]) {
        match random.below(14) {
            0..=3 => out.push(' '),
            4 => out.push('\n'),
            5 => out.push('\t'),
            6 => out.push('\r'),
            7 => out.push_str("\r\n"),
            8 => out.push(random.pick(&['\u{b}', '\u{c}'])),
            9 => out.push_str(" /**/"),
            10 => {
                let said = random.pick(&CONTENTS).replace("/*", "").replace("*/", "");
                out.push_str(&format!(" /*{said}*/"));
            }
            11 => out.push_str(" /* a /* b */ ' */"),
            12 => {
                let said = random.pick(&CONTENTS).replace('\n', " ");
                out.push_str(&format!(" --{said}{}", random.pick(&["\n", "\r", "\r\n"])));
            }
            // Right behind whatever was before: to an operator it is a part of it, or it ends it.
            _ => out.push_str(random.pick(&["/**/", "--\n", "/*--*/"])),
        }
    }
}
