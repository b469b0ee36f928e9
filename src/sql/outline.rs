//! What kind of statement a text holds, whatever names its literals and numbers have: to tell statements apart, and to show them.

use super::lexer::{Backslash, Shape};
use super::rules::Literals;
use super::shown;
use super::tokens::Tokens;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The same for texts that differ in literals, numbers, white space, comments and letter case alone: 16 hex digits.
    pub fingerprint: String,
    /// The statements with `?` for their literals, cut; nothing where it cannot be told what is a literal.
    pub statement: Option<String>,
}

impl Outline {
    pub fn of(text: &str) -> Self {
        let tokens = Tokens::read(text, 0, usize::MAX, Backslash::Plain);
        let mut all = tokens.cursor();
        while all.eat_shape(Shape::Semicolon) {}
        while all.here().last().is_some_and(|last| last.shape == Shape::Semicolon) {
            all.end -= 1;
        }
        let fingerprint = shown::fingerprint(all, Literals::Data).to_string();
        let statement = tokens.broken.is_none().then(|| shown::part(text, all.span(), Backslash::Plain));
        Self { fingerprint, statement }
    }
}

/// The first word of a text, in capitals, if it begins with one.
pub fn first_word(text: &str) -> Option<String> {
    let tokens = Tokens::read(text, 0, 1, Backslash::Plain);
    let cursor = tokens.cursor();
    (cursor.shape(0) == Some(Shape::Word)).then(|| cursor.word(0).to_ascii_uppercase())
}

/// Whether a text opens a quote or a comment that it does not close.
pub fn is_unclosed(text: &str) -> bool {
    Tokens::read(text, 0, usize::MAX, Backslash::Plain).broken.is_some()
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
        assert_eq!(shown("COMMENT ON TABLE a IS 'hunter2'; drop  view b").as_deref(), Some("COMMENT ON TABLE a IS ?; drop view b"));
        // Where a quote does not close, the next one may open what seemed to close.
        for text in ["ALTER ROLE a PASSWORD 'hunter2", "SELECT it's 'hunter2'", "COMMENT ON TABLE a IS $x$hunter2"] {
            assert_eq!(shown(text), None, "{text}");
        }
        assert_eq!(shown(&format!("SELECT {}", "x".repeat(1000))).unwrap().chars().count(), 501, "cut, and marked");
        assert_eq!(shown(&"SELECT 1;".repeat(1000)).unwrap().chars().count(), 501);
    }

    #[test]
    fn a_text_is_known_by_its_first_word() {
        assert_eq!(first_word(" -- x\n create table a()").as_deref(), Some("CREATE"));
        assert_eq!(first_word("(1)"), None);
        assert!(is_unclosed("SELECT 1 /*") && !is_unclosed("SELECT '/*'"));
    }
}
