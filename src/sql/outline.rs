//! What kind of statement a text holds, whatever names its literals and numbers have: to tell statements apart, and to show them.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::fold::{Reading, fold};

/// How much of a text is shown, in characters.
const SHOWN: usize = 500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The same for texts that differ in literals, numbers, white space, comments and letter case alone: 16 hex digits.
    pub fingerprint: String,
    /// The statements with their literals blanked, cut; nothing where it cannot be told what is a literal.
    pub statement: Option<String>,
}

impl Outline {
    pub fn of(text: &str) -> Self {
        let mut hash = Sha256::new();
        let mut shown = String::new();
        let mut is_plain = true;
        let (mut normal, mut room) = (String::new(), SHOWN);
        fold(text, &mut |statement, reading| {
            if reading == Reading::Loose {
                is_plain = false;
                return;
            }
            normalize(statement, &mut normal);
            hash.update(&normal);
            hash.update(b";");
            if room > 0 && !shown.is_empty() {
                shown.push_str("; ");
            }
            for c in statement.chars().take(room) {
                shown.push(c);
                room -= 1;
            }
        });
        let fingerprint = hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { fingerprint, statement: is_plain.then_some(shown) }
    }
}

/// The first word of a text, in capitals, if it begins with one.
pub fn first_word(text: &str) -> Option<String> {
    let mut first = None;
    fold(text, &mut |statement, _| {
        let word = || statement.chars().take_while(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()).collect::<String>();
        first.get_or_insert_with(word);
    });
    first.filter(|word| !word.is_empty())
}

/// Whether a text opens a quote or a comment that it does not close.
pub fn is_unclosed(text: &str) -> bool {
    let mut loose = false;
    fold(text, &mut |_, reading| loose |= reading == Reading::Loose);
    loose
}

/// Small letters, `0` for every number, and blanks only between words.
fn normalize(statement: &str, into: &mut String) {
    into.clear();
    let mut chars = statement.chars().peekable();
    let mut gap = false;
    while let Some(c) = chars.next() {
        if c == ' ' {
            gap = true;
            continue;
        }
        let beside_word = into.ends_with(is_word) && is_word(c);
        if c.is_ascii_digit() && (gap || !beside_word) {
            if gap && beside_word {
                into.push(' ');
            }
            let mut before = c;
            // 1_000, 1.5, 0xff, 1e-5.
            while let Some(next) = chars.next_if(|next| {
                next.is_ascii_alphanumeric() || matches!(next, '.' | '_') || (matches!(before, 'e' | 'E') && matches!(next, '+' | '-'))
            }) {
                before = next;
            }
            into.push('0');
        } else {
            if gap && beside_word {
                into.push(' ');
            }
            into.extend(c.to_lowercase());
        }
        gap = false;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(text: &str) -> String {
        Outline::of(text).fingerprint
    }

    #[test]
    fn what_differs_in_dress_alone_has_one_fingerprint() {
        let same = [
            "ALTER TABLE pets ADD note text DEFAULT 'a', ADD n int DEFAULT 17",
            "alter  table\npets add note text default 'another one', add n int default 1.5e-7;",
            "ALTER /* why */ TABLE pets ADD note text DEFAULT $$x$$ ,ADD n int DEFAULT 0xff -- done",
            "; ALTER TABLE pets ADD note text DEFAULT E'\\'', ADD n int DEFAULT 1_000;",
        ];
        let expected = fingerprint(same[0]);
        assert!(expected.len() == 16 && expected.bytes().all(|b| b.is_ascii_hexdigit()), "{expected}");
        for text in same {
            assert_eq!(fingerprint(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_another_statement_has_another() {
        let other = [
            "ALTER TABLE pets ADD a int",
            "ALTER TABLE pets ADD b int",
            "ALTER TABLE pets2 ADD a int",
            "ALTER TABLE pets3 ADD a int",
            "ALTER TABLE petsadd a int",
            "ALTER TABLE pets ADD a int; ALTER TABLE pets ADD a int",
            "",
        ];
        let distinct: std::collections::BTreeSet<_> = other.iter().map(|text| fingerprint(text)).collect();
        assert_eq!(distinct.len(), other.len());
    }

    #[test]
    fn no_literal_is_shown() {
        let shown = |text: &str| Outline::of(text).statement;
        assert_eq!(shown("COMMENT ON TABLE a IS 'hunter2'; drop  view b").as_deref(), Some("COMMENT ON TABLE a IS ''; drop view b"));
        // Where a quote does not close, the next one may open what seemed to close.
        for text in ["ALTER ROLE a PASSWORD 'hunter2", "SELECT it's 'hunter2'", "COMMENT ON TABLE a IS $x$hunter2"] {
            assert_eq!(shown(text), None, "{text}");
        }
        assert_eq!(shown(&format!("SELECT {}", "x".repeat(1000))).unwrap().len(), 500);
        assert_eq!(shown(&"SELECT 1;".repeat(1000)).unwrap().chars().count() / 600, 1, "cut, but for what stands between statements");
    }

    #[test]
    fn a_text_is_known_by_its_first_word() {
        assert_eq!(first_word(" -- x\n create table a()").as_deref(), Some("CREATE"));
        assert_eq!(first_word("(1)"), None);
        assert!(is_unclosed("SELECT 1 /*") && !is_unclosed("SELECT '/*'"));
    }
}
