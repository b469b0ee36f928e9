//! What the validator is shown of a call's SQL: all of it, as one text.

use crate::call::SqlText;
use crate::sql::{first_word, is_unclosed};

/// On a line of its own, where no comment swallows it.
const BETWEEN: &str = "\n;\n";

const BEGIN_STATEMENTS: [&str; 26] = [
    "ALTER", "ANALYZE", "BEGIN", "CALL", "COMMENT", "COMMIT", "COPY", "CREATE", "DELETE", "DO", "DROP", "EXPLAIN", "GRANT", "IMPORT",
    "INSERT", "LOCK", "MERGE", "REFRESH", "REINDEX", "REVOKE", "ROLLBACK", "SELECT", "TRUNCATE", "UPDATE", "VACUUM", "WITH",
];

/// Each text is a statement of its own, or several. The items of an array are, too, if each begins as one; if not, they are lines of one.
pub fn all(sql: &[&SqlText]) -> String {
    let mut parts: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
    // What was joined would be shown twice.
    for SqlText { pointer, text, .. } in sql.iter().copied().filter(|sql| !sql.joined) {
        let array = array_of(pointer);
        match parts.last_mut() {
            Some((last, items)) if array.is_some() && *last == array => items.push(text),
            _ => parts.push((array, vec![text])),
        }
    }
    let mut texts = Vec::new();
    for (_, items) in parts {
        if items.iter().all(|item| first_word(item).is_some_and(|word| BEGIN_STATEMENTS.contains(&word.as_str()))) {
            texts.extend(items.into_iter().map(str::to_owned));
        } else {
            texts.push(items.join("\n"));
        }
    }
    if texts.len() > 1 {
        // Behind a quote or comment that does not close, others could hide.
        texts.sort_by_cached_key(|text| is_unclosed(text));
    }
    texts.join(BETWEEN)
}

/// The place of the array that this is the place of an item of.
fn array_of(pointer: &str) -> Option<&str> {
    let (array, item) = pointer.rsplit_once('/')?;
    let is_index = !item.is_empty() && item.bytes().all(|b| b.is_ascii_digit());
    is_index.then_some(array)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Reading;

    fn shown(texts: &[(&str, &str)]) -> String {
        let written = texts.iter().map(|(pointer, text)| SqlText {
            pointer: (*pointer).into(),
            text: (*text).into(),
            reading: Reading::Sql,
            joined: false,
        });
        let joined = SqlText { pointer: "/sql".into(), text: "ALL OF IT".into(), reading: Reading::Sql, joined: true };
        all(&written.chain([joined]).collect::<Vec<_>>().iter().collect::<Vec<_>>())
    }

    #[test]
    fn one_text_is_shown_as_it_is() {
        assert_eq!(shown(&[("/operation", "  CREATE TABLE a ('x') -- why\n;")]), "  CREATE TABLE a ('x') -- why\n;");
    }

    #[test]
    fn several_are_statements_of_their_own() {
        let two = [("/operation", "ALTER TABLE a ADD b int -- first"), ("/payload/sql", "SELECT 1")];
        assert_eq!(shown(&two), "ALTER TABLE a ADD b int -- first\n;\nSELECT 1");
        let array = [("/payload/sql/0", "CREATE TABLE a (b int)"), ("/payload/sql/1", "insert into a values (1)")];
        assert_eq!(shown(&array), "CREATE TABLE a (b int)\n;\ninsert into a values (1)");
    }

    #[test]
    fn lines_are_one() {
        let lines = [("/sql/0", "CREATE TABLE a ("), ("/sql/1", "  b int"), ("/sql/2", ")"), ("/query", "SELECT 1")];
        assert_eq!(shown(&lines), "CREATE TABLE a (\n  b int\n)\n;\nSELECT 1");
    }

    #[test]
    fn nothing_hides_behind_what_does_not_close() {
        let hiding = [("/operation", "SELECT 1 /*"), ("/payload/sql", "ALTER TABLE a ADD b int")];
        assert_eq!(shown(&hiding), "ALTER TABLE a ADD b int\n;\nSELECT 1 /*");
    }
}
