//! Where in a text SQL begins. A field that holds SQL often holds a question instead, and any other string mostly holds prose: the verbs
//! of SQL are words of English. So SQL is what structurally begins as a statement at a place where one can begin.

use std::cell::Cell;

use super::finding::Field;
use super::head;
use super::lexer::{Backslash, Lexer, Shape, Token};
use super::split::Statements;
use super::tokens::{Cursor, Tokens, k};
use super::words::Class;

/// How often the bytes of a text are read while statements are looked for in prose. What needs more was made to need it.
const LOOKS: usize = 3;

/// How many tokens are read of a text before all others: most prose that begins with a verb goes on as no statement does.
const FEW: usize = 4;

/// From where on a text is SQL, with its tokens from there.
#[derive(Debug)]
pub enum Found<'a> {
    Sql(Tokens<'a>),
    Prose,
    /// It was cut into so many pieces that nobody can say.
    Unclear,
}

pub fn find(text: &str, field: Field, backslash: Backslash) -> Found<'_> {
    let few = Tokens::read(text, 0, FEW, backslash);
    let is_told = rule_out_a_statement(&few);
    if is_told && field == Field::Text {
        return Found::Prose;
    }
    // The whole of a short text is read already.
    let start = if is_told || few.list.len() < FEW { few } else { head_at(text, 0, backslash) };
    let begins = !is_told && head::begins(&after_semicolons(&start));
    match field {
        Field::Text if !begins => Found::Prose,
        // Without a semicolon there is no other place where one could begin.
        Field::Sql if !begins && (is_told || start.list.len() < head::LONGEST) && !text.contains(';') => Found::Prose,
        Field::Sql if !begins => match in_prose(text, backslash) {
            Found::Prose if start.list.first().is_some_and(|first| head::is_verb(first.kw)) => behind_the_first(text, backslash),
            found => found,
        },
        _ => {
            let tokens = if start.list.len() == head::LONGEST { Tokens::read(text, 0, usize::MAX, backslash) } else { start };
            match field {
                Field::Text if tokens.broken.is_none() && is_all_sql(&tokens) => Found::Sql(tokens),
                Field::Text => Found::Prose,
                Field::Sql if begins_sql(&tokens) => Found::Sql(tokens),
                Field::Sql => in_prose(text, backslash),
            }
        }
    }
}

/// Whether the first few words of a text are no beginning of a statement, whatever comes behind them. Words alone are asked: of
/// parentheses and quotes it would matter where they close.
fn rule_out_a_statement(few: &Tokens<'_>) -> bool {
    let beyond = Cell::new(false);
    few.list.len() == FEW
        && few.list.iter().all(|token| token.shape == Shape::Word)
        && !head::begins(&Cursor { beyond: Some(&beyond), ..few.cursor() })
        && !beyond.get()
}

/// The tokens from here on, without semicolons before them, as many as tell whether a statement begins: few, but all of them where a list
/// in the head goes on beyond those.
fn head_at(text: &str, mut at: usize, backslash: Backslash) -> Tokens<'_> {
    loop {
        let head = Tokens::read(text, at, head::LONGEST, backslash);
        let semicolons = head.list.iter().take_while(|token| token.shape == Shape::Semicolon).count();
        if let Some(last) = semicolons.checked_sub(1).and_then(|last| head.list.get(last)).filter(|_| head.list.len() == head::LONGEST) {
            at = last.end as usize;
            continue;
        }
        let is_cut = head.list.len() == head::LONGEST && head::may_be_cut(&head.cursor());
        return if is_cut { Tokens::read(text, at, usize::MAX, backslash) } else { head };
    }
}

fn after_semicolons<'t>(tokens: &'t Tokens<'_>) -> Cursor<'t> {
    let mut cursor = tokens.cursor();
    while cursor.eat_shape(Shape::Semicolon) {}
    cursor
}

/// Every statement of it begins as one, and there is one.
pub fn is_all_sql(tokens: &Tokens<'_>) -> bool {
    let mut any = false;
    for statement in Statements::of(tokens.cursor()).filter(|statement| !statement.is_end()) {
        if !head::begins(&statement) || is_sentence(statement) {
            return false;
        }
        any = true;
    }
    any
}

/// What begins with a verb could be a statement that is not known here, with others behind it; they stand where PostgreSQL says.
fn behind_the_first(text: &str, backslash: Backslash) -> Found<'_> {
    let tokens = Tokens::read(text, 0, usize::MAX, backslash);
    let any =
        tokens.broken.is_none() && Statements::of(tokens.cursor()).any(|statement| head::begins(&statement) && !is_sentence(statement));
    if any { Found::Sql(tokens) } else { Found::Prose }
}

/// Whether the first statement of a text begins as one, and is not a sentence with an apostrophe in it.
fn begins_sql(tokens: &Tokens<'_>) -> bool {
    let cursor = after_semicolons(tokens);
    if !head::begins(&cursor) {
        return false;
    }
    let mut statements = Statements::of(cursor);
    let first = statements.next().unwrap_or(cursor);
    let Some(broken) = tokens.broken.filter(|_| statements.is_end()) else { return true };
    !(is_apostrophe(tokens.text, broken.at) || is_sentence(first))
}

/// No SQL has three words in a row that are neither keywords nor quoted.
fn is_sentence(statement: Cursor<'_>) -> bool {
    let plain = |token: &Token| token.shape == Shape::Word && token.kw.class() == Class::Plain;
    let is_query = matches!(statement.kw(0), k::SELECT | k::INSERT | k::DELETE | k::UPDATE);
    is_query && statement.here().windows(3).any(|three| three.iter().all(plain))
}

/// A quote between two letters.
fn is_apostrophe(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    let mut after = text.get(at..).unwrap_or_default().chars();
    after.next() == Some('\'') && before.is_some_and(char::is_alphanumeric) && after.next().is_some_and(char::is_alphanumeric)
}

/// In prose, a statement can begin behind any semicolon that stands in no quotation.
fn in_prose(text: &str, backslash: Backslash) -> Found<'_> {
    let bytes = text.as_bytes();
    let mut budget = text.len().saturating_mul(LOOKS) + 4096;
    let mut no_more = [false; 3];
    let mut no_comments = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' | b'`' => at = quotation_end(text, at, &mut no_more).unwrap_or(at + 1),
            b'-' if bytes.get(at + 1) == Some(&b'-') => at = comment_end(text, at).unwrap_or(at + 2),
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = if no_comments { None } else { comment_end(text, at) };
                // It is a path like `src/*`, and so are those behind it.
                no_comments |= end.is_none();
                at = end.unwrap_or(at + 2);
            }
            b';' => {
                at += 1;
                // Of many in a row, what is behind the last counts.
                if text.get(at..).is_some_and(|rest| rest.trim_start().starts_with(';')) {
                    continue;
                }
                // Where a head would take long to read, a comment that goes on for ever is opened at every semicolon.
                let mut head = Tokens::read_statement(text, at, head::LONGEST, backslash);
                if head.list.len() == head::LONGEST && head::may_be_cut(&head.cursor()) {
                    head = Tokens::read_statement(text, at, usize::MAX, backslash);
                }
                let read = head.list.last().map_or(at, |last| last.end as usize).max(head.broken.map_or(at, |_| text.len()));
                budget = budget.saturating_sub(read - at);
                if budget == 0 {
                    return Found::Unclear;
                }
                if head::begins(&head.cursor()) {
                    let tokens = Tokens::read(text, at, usize::MAX, backslash);
                    budget = budget.saturating_sub(text.len() - at);
                    if begins_sql(&tokens) {
                        return Found::Sql(tokens);
                    }
                    if budget == 0 {
                        return Found::Unclear;
                    }
                }
            }
            _ => at += 1,
        }
    }
    Found::Prose
}

/// Behind a comment that opens here, if it ends.
fn comment_end(text: &str, open: usize) -> Option<usize> {
    Lexer::new(text, open, Backslash::Plain).after_comment()
}

/// Behind a quotation that opens here, if this is no apostrophe: it opens behind no letter, and what closes it stands before none.
fn quotation_end(text: &str, open: usize, no_more: &mut [bool; 3]) -> Option<usize> {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let quote = text.get(open..)?.chars().next()?;
    let kind = no_more.get_mut(match quote {
        '\'' => 0,
        '"' => 1,
        _ => 2,
    })?;
    if *kind || is_word(text.get(..open)?.chars().next_back()) {
        return None;
    }
    let rest = text.get(open + 1..)?;
    for (at, _) in rest.match_indices(quote) {
        if !is_word(rest.get(at + 1..)?.chars().next()) {
            return Some(open + 1 + at + 1);
        }
    }
    // Nothing behind here closes any, either.
    *kind = true;
    None
}

#[cfg(test)]
mod tests {
    use super::super::words::Kw;
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    const WORDS: [&str; 58] = [
        "all",
        "analyze",
        "and",
        "as",
        "binary",
        "by",
        "cascade",
        "class",
        "column",
        "concurrently",
        "cursor",
        "data",
        "default",
        "explain",
        "for",
        "foreign",
        "from",
        "full",
        "if",
        "exists",
        "in",
        "index",
        "insensitive",
        "into",
        "is",
        "language",
        "local",
        "materialized",
        "next",
        "no",
        "not",
        "on",
        "only",
        "option",
        "or",
        "owned",
        "plan",
        "policy",
        "privileges",
        "recursive",
        "replace",
        "role",
        "scroll",
        "select",
        "session",
        "set",
        "system",
        "table",
        "temp",
        "the",
        "to",
        "transaction",
        "unique",
        "user",
        "values",
        "verbose",
        "view",
        "work",
    ];
    const SIGNS: [&str; 11] = ["(", ")", "[", "]", ",", ".", ";", "=", "*", "'a'", "\"B\""];

    fn verbs() -> Vec<&'static str> {
        let all = "abort alter analyse analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete \
            discard do drop end execute explain fetch grant import insert listen load lock merge move notify prepare reassign refresh reindex \
            release repack reset revoke rollback savepoint security select set show start table truncate unlisten update vacuum values with";
        let verbs: Vec<_> = all.split_ascii_whitespace().collect();
        assert!(verbs.iter().all(|verb| head::is_verb(Kw::of(verb))));
        verbs
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn what_a_few_words_rule_out_no_others_bring_back(
            verb in select(verbs()),
            few in prop::collection::vec(select(WORDS.to_vec()), 3),
            more in prop::collection::vec(prop_oneof![2 => select(WORDS.to_vec()), 2 => select(SIGNS.to_vec()), 1 => select(verbs())], 0..8),
        ) {
            let text = format!("{verb} {} {}", few.join(" "), more.join(" "));
            let ruled_out = rule_out_a_statement(&Tokens::read(&text, 0, FEW, Backslash::Plain));
            let whole = Tokens::read(&text, 0, usize::MAX, Backslash::Plain);
            prop_assert!(!ruled_out || !head::begins(&whole.cursor()), "{text}");
        }
    }

    #[test]
    fn prose_behind_a_verb_is_told_by_its_first_words() {
        for text in [
            "with the plan in place",
            "prepare a list of all",
            "show me the money",
            "update the plan today",
            "create plan for next week",
            "select the plan of today",
        ] {
            assert!(rule_out_a_statement(&Tokens::read(text, 0, FEW, Backslash::Plain)), "{text}");
        }
        for text in ["update a set b = 1", "select the plan", "drop table a cascade", "with a", "comment on table a"] {
            assert!(!rule_out_a_statement(&Tokens::read(text, 0, FEW, Backslash::Plain)), "{text}");
        }
    }
}
