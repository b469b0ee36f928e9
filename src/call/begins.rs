//! Whether it is worth a look whether a string is SQL. Most strings of a call are not, and their first word says so.

/// The words that statements begin with, by their first letter.
const fn verbs(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["abort", "alter", "analyse", "analyze"],
        b'b' => &["begin"],
        b'c' => &["call", "checkpoint", "close", "cluster", "comment", "commit", "copy", "create"],
        b'd' => &["deallocate", "declare", "delete", "discard", "do", "drop"],
        b'e' => &["end", "execute", "explain"],
        b'f' => &["fetch"],
        b'g' => &["grant"],
        b'i' => &["import", "insert"],
        b'l' => &["listen", "load", "lock"],
        b'm' => &["merge", "move"],
        b'n' => &["notify"],
        b'p' => &["prepare"],
        b'r' => &["reassign", "refresh", "reindex", "release", "repack", "reset", "revoke", "rollback"],
        b's' => &["savepoint", "security", "select", "set", "show", "start"],
        b't' => &["table", "truncate"],
        b'u' => &["unlisten", "update"],
        b'v' => &["vacuum", "values"],
        b'w' => &["with"],
        _ => &[],
    }
}

/// Letters that stand together in the beginnings of the words, three at a time, a bit for each. Of what is no letter five bits are taken as
/// well: now and then it is taken for a letter, and a text looked at in vain.
struct Beginnings([u64; 512]);

impl Beginnings {
    /// The letters from this place on: few words of a call share both the first three and the next with any of those.
    #[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds does not compile")]
    const fn of_verbs(from: usize) -> Self {
        let mut table = [0; 512];
        let mut letter = b'a';
        while letter <= b'z' {
            let mut left = verbs(letter);
            while let [verb, rest @ ..] = left {
                let verb = verb.as_bytes();
                // Behind a word anything may stand.
                let (mut third, last) = if from + 2 < verb.len() { (verb[from + 2], verb[from + 2]) } else { (0, 31) };
                while third <= last {
                    let mut second = 0;
                    while second < 32 {
                        if from + 1 >= verb.len() || second == verb[from + 1] & 31 {
                            let bit = place(verb[from], second, third);
                            table[bit / 64] |= 1 << (bit % 64);
                        }
                        second += 1;
                    }
                    third += 1;
                }
                left = rest;
            }
            letter += 1;
        }
        Self(table)
    }

    /// Whether any word has the first three of these letters.
    #[inline(always)]
    fn have(&self, letters: u32) -> bool {
        let bit = (letters & 0x1f) | (letters >> 3 & 0x3e0) | (letters >> 6 & 0x7c00);
        self.0.get(bit as usize / 64).is_some_and(|bits| bits & (1 << (bit % 64)) != 0)
    }
}

static FIRST: Beginnings = Beginnings::of_verbs(0);
static SECOND: Beginnings = Beginnings::of_verbs(1);

/// Five bits say which letter it is, in either case.
const fn place(one: u8, two: u8, three: u8) -> usize {
    (one & 31) as usize | ((two & 31) as usize) << 5 | ((three & 31) as usize) << 10
}

/// Whether the first bytes tell already that a text neither begins as SQL nor is JSON: it begins with a digit, or as none of the words
/// does.
#[inline(always)]
pub fn says_nothing(text: &[u8]) -> bool {
    let Some(first @ [one, ..]) = text.first_chunk::<4>() else { return text.first().is_some_and(u8::is_ascii_digit) };
    let letters = u32::from_le_bytes(*first);
    if one.is_ascii_alphabetic() { !FIRST.have(letters) || !SECOND.have(letters >> 8) } else { one.is_ascii_digit() }
}

/// Whether the first word of a text, past blanks, comments, parentheses and semicolons, begins statements.
pub fn begins_as_sql(text: &str) -> bool {
    // Most begin with a letter.
    if begins_with_letter(text.as_bytes()) {
        return begins_with_verb(text.as_bytes());
    }
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_passed_over);
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).and_then(|end| comment.get(end..)).unwrap_or_default();
        } else {
            // Where such a comment ends, or whether it does, is for whoever judges to say.
            return rest.starts_with("/*") || begins_with_verb(rest.as_bytes());
        }
    }
}

/// More than PostgreSQL passes over: who tidies a text before it gets there may make blanks of these.
fn is_passed_over(c: char) -> bool {
    match c {
        ' ' | '(' | ';' => true,
        c if c.is_ascii() => c.is_ascii_control(),
        c => c.is_whitespace() || c.is_control() || matches!(c, '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'),
    }
}

/// Then its first word says all.
pub fn begins_with_letter(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
}

pub fn begins_with_verb(text: &[u8]) -> bool {
    let goes_on = |rest: &[u8]| rest.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    let begins_with = |verb: &str| {
        text.split_at_checked(verb.len()).is_some_and(|(word, rest)| word.eq_ignore_ascii_case(verb.as_bytes()) && !goes_on(rest))
    };
    text.first().is_some_and(|first| verbs(first.to_ascii_lowercase()).iter().any(|verb| begins_with(verb)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_says_whether_a_text_is_looked_at() {
        for text in [
            "DROP TABLE a",
            "drop table a",
            "  \t\n;(( ; Select 1",
            "\u{feff}\u{a0}\u{200b}DELETE FROM a",
            "-- why\nDROP TABLE a",
            "--\r-- \n ;delete from a",
            "/* a */ DROP TABLE a",
            "/* open",
            "TRUNCATE\"a\"",
            "SELECT*FROM a",
            "select$1",
            "do$$x$$",
            "END",
            "update\u{a0}a set b = 1",
            "Start with the plan",
        ] {
            assert!(begins_as_sql(text), "{text}");
        }
        for text in [
            "",
            " ",
            ";",
            "-- drop table a",
            "dropped",
            "drop_table",
            "a drop",
            "'drop'",
            "\"drop\"",
            "é drop",
            "8 drop",
            "[drop",
            "e",
            "selections",
        ] {
            assert!(!begins_as_sql(text), "{text}");
        }
    }

    #[test]
    fn what_says_nothing_never_begins_as_sql() {
        let verbs = (b'a'..=b'z').flat_map(verbs).map(|verb| (*verb).to_owned());
        let pairs = (0..=0x7F_u8).flat_map(|one| (0..=0x7F_u8).map(move |other| String::from_utf8(vec![one, other]).unwrap()));
        let mut told = 0;
        for begin in verbs.chain(pairs) {
            for text in [
                begin.clone(),
                begin.to_ascii_uppercase(),
                format!("{begin} a"),
                format!("{begin}(a"),
                format!("{begin}_"),
                format!("{begin}é"),
            ] {
                if says_nothing(text.as_bytes()) {
                    assert!(!begins_as_sql(&text), "{text:?}");
                    told += 1;
                }
            }
        }
        assert!(told > 10_000, "{told}");
        for text in ["", "d", "do", "do it", "do;a", "set", "set a", "drop", "DRop", "\"a\"", "{}", " a", "é", "-1"] {
            assert!(!says_nothing(text.as_bytes()), "{text}");
        }
        for text in ["market look", "a drop", "8 drop", "droop", "status", "people"] {
            assert!(says_nothing(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn each_verb_stands_under_its_letter() {
        for letter in 0..=u8::MAX {
            let fits = |verb: &&str| verb.as_bytes()[0] == letter && verb.bytes().all(|b| b.is_ascii_lowercase());
            assert!(verbs(letter).iter().all(fits), "{letter}");
        }
    }
}
