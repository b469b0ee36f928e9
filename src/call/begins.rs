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

/// Whether the first word of a text, past blanks, comments, parentheses and semicolons, begins statements.
pub fn begins_as_sql(text: &str) -> bool {
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

fn begins_with_verb(text: &[u8]) -> bool {
    let Some(first) = text.first().map(u8::to_ascii_lowercase) else { return false };
    let is_verb = |verb: &&str| {
        let word = text.get(..verb.len()).unwrap_or_default();
        let goes_on = text.get(verb.len()).is_some_and(|next| next.is_ascii_alphabetic() || *next == b'_');
        !goes_on && word.eq_ignore_ascii_case(verb.as_bytes())
    };
    verbs(first).iter().any(is_verb)
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
            "", " ", ";", "-- drop table a", "dropped", "drop_table", "a drop", "'drop'", "\"drop\"", "é drop", "8 drop", "[drop", "e", "selections",
        ] {
            assert!(!begins_as_sql(text), "{text}");
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
