//! Functions that do more than reckon: they are noted by name, wherever a statement calls them.

use super::Reader;
use super::session::setting_to;
use crate::sql::act::{Act, Hidden, SettingTo};
use crate::sql::decode;
use crate::sql::finding::{Kind, Name};
use crate::sql::lexer::{Shape, Token};
use crate::sql::rules::reaches_beyond_the_data;
use crate::sql::tokens::{Cursor, k};

/// Functions that run, or keep to be run, the SQL that they are given as text. Every literal among their arguments is read.
const RUN_TEXT: [&str; 20] = [
    "alter_job",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "cursor_to_xml",
    "exec",
    "exec_sql",
    "execute_sql",
    "execute_query",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "run_query",
    "run_sql",
    "schedule",
    "schedule_in_database",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

/// What puts text together, beside the operator that does.
const PUT_TOGETHER: [&str; 9] = ["chr", "concat", "concat_ws", "convert_from", "decode", "format", "replace", "reverse", "translate"];

impl Reader {
    /// `inside` are the parentheses that open at `open`, behind what may be the name of a function.
    pub(super) fn call(&mut self, cursor: Cursor<'_>, open: usize, inside: Cursor<'_>) {
        let at = |index: usize| cursor.tokens.get(index).filter(|_| index >= cursor.at);
        let Some(named) = open.checked_sub(1).and_then(at) else { return };
        let Some(function) = known(cursor, named) else { return };
        // `FUNCTION f(int)` is about it, `AS f(a int)` and `INTO f (a)` are other things of that name: none of these calls it.
        let mut first = open - 1;
        while first >= cursor.at + 2 && at(first - 1).is_some_and(|token| token.shape == Shape::Dot) {
            first -= 2;
        }
        let before = first.checked_sub(1).and_then(at).map(|token| token.kw);
        if before.is_some_and(|kw| {
            matches!(
                kw,
                k::FUNCTION
                    | k::PROCEDURE
                    | k::ROUTINE
                    | k::AGGREGATE
                    | k::TABLE
                    | k::INTO
                    | k::REFERENCES
                    | k::AS
                    | k::EXISTS
                    | k::VIEW
                    | k::INDEX
                    | k::WITH
                    | k::UPDATE
            )
        }) {
            return;
        }
        let part = Cursor { at: first, end: inside.end + 1, ..cursor };
        match function.as_str() {
            "set_config" => self.set_config(part, inside),
            name if RUN_TEXT.contains(&name) => {
                for token in inside.here().iter().filter(|token| token.shape.is_text()) {
                    self.carried(token, inside);
                }
                if is_put_together(inside) || name == "xpath_table" && holds_semicolon(inside) {
                    self.note(Act::Dynamic(Hidden::Given), Kind::Run, Vec::new(), part);
                }
            }
            _ => self.note(Act::Call { function: Name { parts: vec![function] } }, Kind::Run, Vec::new(), part),
        }
    }

    /// A function that gets another name, by which calls of it would not be known.
    pub(super) fn named_anew(&mut self, function: &str, part: Cursor<'_>) {
        let act = match function {
            "set_config" => Act::Setting { name: "*".to_owned(), to: SettingTo::Unknown },
            name if RUN_TEXT.contains(&name) => Act::Dynamic(Hidden::Given),
            name => Act::Call { function: Name { parts: vec![name.to_owned()] } },
        };
        self.note(act, Kind::Create, Vec::new(), part);
    }

    /// Operators, aggregates, casts and types of functions: `FUNCTION = f`, `WITH FUNCTION f(text)`, `FUNCTION 1 f`.
    pub(super) fn made_of_functions(&mut self, cursor: Cursor<'_>) {
        for (at, token) in cursor.here().iter().enumerate() {
            let Some(function) = known(cursor, token) else { continue };
            let back = |by: usize| at.checked_sub(by).and_then(|at| cursor.here().get(at));
            let mut first = 1;
            while back(first).is_some_and(|before| before.shape == Shape::Dot) {
                first += 2;
            }
            let is_named = back(first).is_some_and(|before| {
                matches!(before.kw, k::FUNCTION | k::PROCEDURE)
                    || matches!(before.shape, Shape::Number | Shape::Close)
                    || before.shape == Shape::Operator && cursor.text_of(before) == "="
            });
            if is_named {
                self.named_anew(&function, cursor);
            }
        }
    }

    fn set_config(&mut self, part: Cursor<'_>, mut inside: Cursor<'_>) {
        let mut argument = || {
            let written = inside.until(|c| c.shape(0) == Some(Shape::Comma));
            inside.advance(1);
            match written.here() {
                [token] | [token, Token { shape: Shape::Cast, .. }, Token { shape: Shape::Word, .. }] if token.shape.is_text() => {
                    Some((token, written.text_of(token)))
                }
                _ => None,
            }
        };
        let (name, to) = (argument(), argument());
        let name = name.map(|(token, written)| decode::literal(token.shape, written).to_ascii_lowercase());
        let to = to.map_or(SettingTo::Unknown, |(token, written)| setting_to(token, written));
        // Which one it is may be known only when it runs; then it may be any.
        let name = name.unwrap_or_else(|| "*".to_owned());
        self.note(Act::Setting { name, to }, Kind::Session, Vec::new(), part);
    }
}

/// Text that is joined to other text, or comes out of a function that makes it.
fn is_put_together(arguments: Cursor<'_>) -> bool {
    let tokens = arguments.here();
    let is_text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).is_some_and(|token| token.shape.is_text());
    tokens.iter().enumerate().any(|(at, token)| match token.shape {
        Shape::Operator => arguments.text_of(token) == "||" && (is_text(at.checked_sub(1)) || is_text(at.checked_add(1))),
        Shape::Word => {
            tokens.get(at + 1).is_some_and(|next| next.shape == Shape::Open)
                && PUT_TOGETHER.iter().any(|name| arguments.text_of(token).eq_ignore_ascii_case(name))
        }
        _ => false,
    })
}

/// `xpath_table` writes its arguments into a statement of its own.
fn holds_semicolon(arguments: Cursor<'_>) -> bool {
    arguments.here().iter().any(|token| token.shape.is_text() && arguments.text_of(token).contains(';'))
}

/// The function's name, if anything is to be said of it.
fn known(cursor: Cursor<'_>, named: &Token) -> Option<String> {
    let written = cursor.text_of(named);
    let is_one = |name: &str| name == "set_config" || RUN_TEXT.contains(&name) || reaches_beyond_the_data(name);
    match named.shape {
        Shape::Word => {
            // Most calls are of functions that begin otherwise.
            let may_be = matches!(
                written.as_bytes().first()?.to_ascii_lowercase(),
                b'a' | b'c' | b'd' | b'e' | b'h' | b'l' | b'p' | b'q' | b'r' | b's' | b't' | b'x'
            );
            may_be.then(|| written.to_ascii_lowercase()).filter(|name| is_one(name))
        }
        Shape::Quoted | Shape::UnicodeQuoted => Some(decode::name(named.shape, written)).filter(|name| is_one(name)),
        _ => None,
    }
}
