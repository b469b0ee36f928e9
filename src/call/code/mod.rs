//! String literals in code. What a program hands to a database stands in its literals, so each of them is judged like a string of the
//! call itself. Which language it is nobody says; so code is read once as Python and its kin quote and comment, and once as JavaScript
//! and its kin do, and what is found in either way counts: a comment of one must not hide a literal of the other.

mod gaps;
mod glue;

use std::borrow::Cow;
use std::collections::HashSet;

use super::begins::begins_as_sql;
use super::escapes::{Unknown, unescaped};
use gaps::{filled, gaps, may_fill};
use glue::Together;

/// Literals in the gaps of literals in the gaps of literals.
const GAPS: usize = 4;

/// What literals say that may be SQL: each by itself, but those that are put together where they stand as one. Nothing, if there are
/// more than `most`.
pub fn literals(code: &str, most: usize) -> Option<Vec<String>> {
    let mut found = Found { texts: Vec::new(), most };
    Scan::new(code, Tongue::Hash, 0).run(&mut found)?;
    let mut again = Found { texts: Vec::new(), most };
    Scan::new(code, Tongue::Slashes, 0).run(&mut again)?;
    // What both readings find is judged once.
    let known: HashSet<&str> = found.texts.iter().map(String::as_str).collect();
    again.texts.retain(|text| !known.contains(text.as_str()));
    found.texts.append(&mut again.texts);
    (found.texts.len() <= most).then_some(found.texts)
}

struct Found {
    texts: Vec<String>,
    most: usize,
}

impl Found {
    /// A text, and what it says once its gaps are filled. Nothing, if there is no room for it.
    fn push(&mut self, text: &str) -> Option<()> {
        if !begins_as_sql(text) && !may_fill(text) {
            return Some(());
        }
        for text in [Some(text.to_owned()), filled(text)].into_iter().flatten().filter(|text| begins_as_sql(text)) {
            if self.texts.len() >= self.most {
                return None;
            }
            self.texts.push(text);
        }
        Some(())
    }
}

/// How a language comments and quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tongue {
    /// `# a comment`.
    Hash,
    /// `// a comment`, `/* a comment */`, and `` `a literal` ``.
    Slashes,
}

#[derive(Clone, Copy)]
enum Quote {
    Single,
    Double,
    Backtick,
    ThreeSingle,
    ThreeDouble,
}

impl Quote {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "'",
            Self::Double => "\"",
            Self::Backtick => "`",
            Self::ThreeSingle => "'''",
            Self::ThreeDouble => "\"\"\"",
        }
    }

    /// Whether a line break is like any other character in it.
    const fn is_long(self) -> bool {
        !matches!(self, Self::Single | Self::Double)
    }
}

struct Scan<'c> {
    code: &'c str,
    tongue: Tongue,
    at: usize,
    /// Up to where nothing ends a literal of each kind, where that was looked for in vain: it is not looked for again.
    no_end: [usize; 5],
    /// Whether templates in templates are told apart: not where one was found that does not end.
    nests: bool,
    /// How many literals this code is in a gap of.
    depth: usize,
    together: Together<'c>,
}

impl<'c> Scan<'c> {
    fn new(code: &'c str, tongue: Tongue, depth: usize) -> Self {
        Self { code, tongue, at: 0, no_end: [0; 5], nests: true, depth, together: Together::new() }
    }

    fn run(mut self, found: &mut Found) -> Option<()> {
        // Comments since the last literal: what stands between two literals is looked at without them.
        let mut between = String::new();
        let mut seen = 0;
        while let Some(next) = self.rest().bytes().position(|b| matches!(b, b'\'' | b'"' | b'`' | b'#' | b'/')) {
            self.at += next;
            if let Some(comment) = self.comment() {
                between.push_str(self.part(seen, self.at));
                self.at += comment;
                seen = self.at;
                continue;
            }
            let open = self.at;
            let Some((quote, said)) = self.literal() else {
                self.at = open + 1;
                continue;
            };
            between.push_str(self.part(seen, open));
            seen = self.at;
            let unknown = match self.tongue {
                Tongue::Hash => Unknown::Kept,
                Tongue::Slashes => Unknown::Dropped,
            };
            let (between_them, prefix) = split_prefix(&between, quote);
            let is = |letter: u8| prefix.bytes().any(|b| b.eq_ignore_ascii_case(&letter));
            if self.depth < GAPS && (is(b'f') || is(b't') || matches!(quote, Quote::Backtick)) {
                for gap in gaps(said) {
                    Scan::new(gap, self.tongue, self.depth + 1).run(found)?;
                }
            }
            let said = if is(b'r') { Cow::Borrowed(said) } else { unescaped(said, unknown) };
            self.together.literal(between_them, &said, found)?;
            between.clear();
        }
        between.push_str(self.code.get(seen..).unwrap_or_default());
        self.together.end(&between, found)
    }

    /// Code that is neither literal nor comment.
    fn part(&mut self, from: usize, to: usize) -> &'c str {
        let part = self.code.get(from..to).unwrap_or_default();
        self.together.code(part);
        part
    }

    fn rest(&self) -> &'c str {
        self.code.get(self.at..).unwrap_or_default()
    }

    /// The length of the comment that begins here.
    fn comment(&self) -> Option<usize> {
        let rest = self.rest();
        let line = || rest.find('\n').unwrap_or(rest.len());
        match self.tongue {
            Tongue::Hash => rest.starts_with('#').then(line),
            Tongue::Slashes if rest.starts_with("//") => Some(line()),
            Tongue::Slashes => rest.strip_prefix("/*").map(|comment| comment.find("*/").map_or(rest.len(), |end| end + 4)),
        }
    }

    /// What the literal says that opens here, as it is written; then the scan stands behind it.
    fn literal(&mut self) -> Option<(Quote, &'c str)> {
        let rest = self.rest();
        let quote = match rest.as_bytes() {
            [b'\'', b'\'', b'\'', ..] => Quote::ThreeSingle,
            [b'"', b'"', b'"', ..] => Quote::ThreeDouble,
            [b'\'', ..] => Quote::Single,
            [b'"', ..] => Quote::Double,
            [b'`', ..] if self.tongue == Tongue::Slashes => Quote::Backtick,
            _ => return None,
        };
        // Three quotes that open nothing are an empty literal and one that opens.
        let quotes = match quote {
            Quote::ThreeSingle => [Some(quote), Some(Quote::Single)],
            Quote::ThreeDouble => [Some(quote), Some(Quote::Double)],
            _ => [Some(quote), None],
        };
        let (quote, end) = quotes.into_iter().flatten().find_map(|quote| Some((quote, self.end(quote)?)))?;
        let said = self.code.get(self.at + quote.as_str().len()..end)?;
        self.at = end + quote.as_str().len();
        Some((quote, said))
    }

    /// Where what ends this kind of literal stands.
    fn end(&mut self, quote: Quote) -> Option<usize> {
        if matches!(quote, Quote::Backtick) && self.nests {
            let end = gaps::template_end(self.code.as_bytes(), self.at + 1);
            self.nests = end.is_some();
            if end.is_some() {
                return end;
            }
        }
        let mark = quote.as_str().as_bytes();
        let first = *mark.first()?;
        let bytes = self.code.as_bytes();
        if self.no_end.get(quote as usize).is_some_and(|none| self.at < *none) {
            return None;
        }
        let mut at = self.at + mark.len();
        let none = loop {
            let ends = |b: &u8| *b == first || *b == b'\\' || (*b == b'\n' && !quote.is_long());
            let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(ends)) else { break bytes.len() };
            at += next;
            match bytes.get(at) {
                // A line that goes on may end in two characters.
                Some(b'\\') if bytes.get(at + 1..).is_some_and(|rest| rest.starts_with(b"\r\n")) => at += 3,
                Some(b'\\') => at += 2,
                Some(b'\n') if !quote.is_long() => break at,
                _ if bytes.get(at..).is_some_and(|rest| rest.starts_with(mark)) => return Some(at),
                _ => at += 1,
            }
        };
        if let Some(slot) = self.no_end.get_mut(quote as usize) {
            *slot = none;
        }
        None
    }
}

/// The letters right before a quote that say how a literal is read.
fn split_prefix(between: &str, quote: Quote) -> (&str, &str) {
    if matches!(quote, Quote::Backtick) {
        return (between, "");
    }
    let is_letter = |c: char| matches!(c.to_ascii_lowercase(), 'r' | 'b' | 'f' | 'u' | 't');
    let start = between.trim_end_matches(is_letter).len();
    let is_word = between.get(..start).and_then(|before| before.chars().next_back()).is_some_and(|c| c.is_alphanumeric() || c == '_');
    if is_word || between.len() - start > 2 { (between, "") } else { between.split_at_checked(start).unwrap_or((between, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_literal_is_found_and_those_that_are_put_together() {
        let cases: [(&str, &[&str]); 44] = [
            ("db.run('DROP TABLE a')", &["DROP TABLE a"]),
            ("x = \"drop a\\\"b\" # it's\ny = 'drop c'", &["drop a\"b", "drop c"]),
            ("q = \"\"\"DELETE\nFROM a\"\"\"", &["DELETE\nFROM a"]),
            ("q = '''\n  DELETE FROM \"a\"\n'''", &["\n  DELETE FROM \"a\"\n"]),
            ("run(`drop it's ${x}`)", &["drop it's ${x}", "drop it's "]),
            ("run('DROP ' + 'TABLE a')", &["DROP TABLE a"]),
            ("run('DROP ' \\\n 'TABLE ' f'a')", &["DROP TABLE a"]),
            ("run('DROP ' # why\n 'TABLE a')", &["DROP TABLE a"]),
            ("run('DROP ' // why\n + 'TABLE a')", &["DROP TABLE a"]),
            ("run('DROP ' /* why */ + (\"TABLE \" + 'a'))", &["DROP TABLE a"]),
            ("$q = 'DROP ' . 'TABLE a';", &["DROP TABLE a"]),
            ("run('DROP TABLE ' + name)", &["DROP TABLE {}", "DROP TABLE x"]),
            ("run('DROP TABLE ' + str(n) + ' CASCADE')", &["DROP TABLE {} CASCADE", "DROP TABLE x CASCADE"]),
            ("a('drop', 'table')", &["drop", "table"]),
            ("'\\x44ROP \\u0054ABLE a', '\\104ROP b'", &["DROP TABLE a", "DROP b"]),
            ("'\\DROP a'", &["DROP a"]),
            ("r'drop \\x44', 'drop \\x44'", &["drop \\x44", "drop D"]),
            ("rb\"drop \\x44\"", &["drop \\x44"]),
            ("print(1)", &[]),
            ("r'''drop a''' 'drop b", &["drop a"]),
            ("'''drop a' 'drop b", &["drop a"]),
            ("# it's not\nrun('drop a')", &["drop a"]),
            ("// it's not\nrun('drop a')", &["drop a"]),
            ("/* it's not */ run('drop a')", &["drop a"]),
            ("# \"\"\"\nrun('drop a')\n# \"\"\"", &["drop a"]),
            ("// `\nrun('drop a')\n// `", &["drop a"]),
            ("url = 'http://x' # 'drop b'\nrun('drop a')", &["drop a", "drop b"]),
            ("n = a // b; run('drop a')", &["drop a"]),
            ("f'DELETE FROM {t}'", &["DELETE FROM {t}", "DELETE FROM x"]),
            ("f'DELETE FROM {t} {where}'", &["DELETE FROM {t} {where}", "DELETE FROM x  where x "]),
            ("'DELETE FROM %s WHERE id = %(id)s'", &["DELETE FROM %s WHERE id = %(id)s", "DELETE FROM x WHERE id = x2"]),
            ("f\"drop {d['a']['b']} {{c}}\"", &["drop {d['a']['b']} {{c}}", "drop "]),
            ("'drop \\\r\na'", &["drop a"]),
            ("q = 'drop a'\n'b'", &["drop a", "drop ab"]),
            ("(q = 'drop a'\n'b')", &["drop ab"]),
            ("q = 'drop a'\nq += 'b'; q += 'c'", &["drop abc"]),
            ("q = f('drop a')\nq += 'b'", &["drop a"]),
            ("' '.join(['drop', 'a' + 'b', x, 'drop c'])", &["drop ab", "drop c"]),
            ("['drop', 'a'].join(',')", &["drop,a"]),
            ("['drop a', 'drop b', c]", &["drop a", "drop b"]),
            ("f'{\"drop a\"} and {{\"drop b\"}}'", &["drop a", "drop a and x2"]),
            ("`x ${y(`drop ${`a`}`)} z`", &["drop ${`a`}", "drop a"]),
            ("f'drop a; {b}'", &["drop a; {b}", "drop a; select x"]),
            (
                "f'update {a} {b} {c} where {d} {e}; update {f} {g}; drop {h}'",
                &[
                    "update {a} {b} {c} where {d} {e}; update {f} {g}; drop {h}",
                    "update x  where x   and x  where x4  and x ; update x6  where x ; drop ",
                ],
            ),
        ];
        for (code, expected) in cases {
            let mut got = literals(code, 100).unwrap();
            got.dedup();
            assert_eq!(got, expected, "{code}");
        }
    }

    #[test]
    fn so_many_and_no_more() {
        let code = "'drop a';".repeat(100);
        assert_eq!(literals(&code, 100).map(|found| found.len()), Some(100));
        assert_eq!(literals(&code, 99), None);
    }

    #[test]
    fn nothing_is_looked_for_again_and_again() {
        let began = std::time::Instant::now();
        let cases = [
            ("'", "\\'"),
            ("`", "\\`"),
            ("", "'''\\'"),
            ("", "\"\"\"\\"),
            ("'drop ", "{"),
            ("'drop ", "%("),
            ("", "'+"),
            ("", "''+\n"),
            ("'drop '", "+a+''"),
            ("/*", "/*"),
            ("`", "${`"),
            ("`", "${'`"),
            ("", "`${"),
            ("f'", "{f\""),
            ("f'", "{f\"}"),
            ("f'", "{a} "),
            ("'drop", "{a} "),
            ("", "(["),
            ("'a'.join([", "'a',"),
            ("'aaaaaaaaaaaaaaaa'.join([", "'',"),
            ("q=''", ";q+=''"),
            ("", "q=''\nq+=''\n"),
            ("", "['a'].join('"),
            ("", "'\\\r\n"),
        ];
        for (before, again) in cases {
            let code = format!("{before}{}", again.repeat((1 << 19) / again.len()));
            assert!(literals(&code, 100_000).is_some(), "{again}");
            assert!(literals(&format!("{code}'"), 100_000).is_some(), "{again}");
        }
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    }
}
