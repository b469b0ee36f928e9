//! Whether a condition looks at the row. A WHERE of constants is no WHERE: `1=1`, `NOT false`, `'a' IN ('a')`, `id = 7 OR true`. What is
//! worked out here is only as much of SQL's arithmetic as tells the few conditions that are surely false from those that may be true;
//! whatever looks at no row and is not known is [`Truth::Fixed`]: all rows, or none.

mod alike;
mod expression;
mod operand;
mod query;
mod truth;
mod value;
mod within;

use super::Reader;
use crate::sql::act::Unreadable;
use crate::sql::lexer::{Shape, Token};
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::Class;
use expression::Expression;
pub(super) use query::speaks_of;
pub(super) use truth::Truth;
use within::BY_CHANCE;

/// Parentheses and CASEs in each other.
const DEPTH: usize = 200;

pub(super) fn truth(reader: &mut Reader, condition: Cursor<'_>) -> Truth {
    if condition.is_end() {
        // A WHERE and nothing behind it: PostgreSQL does not run it.
        return Truth::Fixed;
    }
    let mut expression = Expression { rest: condition, reader, depth: 0, too_deep: false };
    let value = expression.or();
    if expression.too_deep {
        reader.unreadable(Unreadable::TooDeep, condition);
        return Truth::Fixed;
    }
    let truth = match value.filter(|_| expression.rest.is_end()) {
        Some(value) => value.truth(),
        None => roughly(reader, condition, 0),
    };
    match truth {
        Truth::Row | Truth::RowAtMost if !may_differ(condition) => Truth::Fixed,
        truth => truth,
    }
}

/// Of a condition that is written in a way that is not known here: whether any of what its ORs join looks at no row.
fn roughly(reader: &mut Reader, mut condition: Cursor<'_>, depth: usize) -> Truth {
    let mut all = Truth::False;
    while !condition.is_end() {
        let part = condition.until(|c| c.is(k::OR));
        condition.advance(1);
        if depth > DEPTH || !reader.may_look(part.here().len() * 2) {
            reader.unreadable(Unreadable::TooDeep, part);
            return Truth::Fixed;
        }
        let mut expression = Expression { rest: part, reader, depth: 0, too_deep: false };
        let value = expression.and();
        let truth = match value.filter(|_| expression.rest.is_end()) {
            Some(value) => value.truth(),
            // What stands in parentheses may be joined by ORs as well.
            None => match parenthesized(part) {
                Some(inside) => roughly(reader, inside, depth + 1),
                None if looks_at_something(part) && !joins_what_looks_at_nothing(reader, part, depth) => Truth::Row,
                None => Truth::Fixed,
            },
        };
        all = all.or(truth);
    }
    all
}

/// Whether an OR in any of its parentheses joins what looks at no row.
fn joins_what_looks_at_nothing(reader: &mut Reader, mut part: Cursor<'_>, depth: usize) -> bool {
    while !part.is_end() {
        match part.group() {
            Some(inside) if inside.here().iter().any(|token| token.kw == k::OR) => {
                if matches!(roughly(reader, inside, depth + 1), Truth::True | Truth::Fixed | Truth::RowAtLeast) {
                    return true;
                }
            }
            Some(_) => {}
            None => part.advance(1),
        }
    }
    false
}

/// What stands in the parentheses that are all there is.
fn parenthesized(mut part: Cursor<'_>) -> Option<Cursor<'_>> {
    part.group().filter(|_| part.is_end())
}

/// Whether any word in it may be a column, or anything a parameter.
fn looks_at_something(part: Cursor<'_>) -> bool {
    let tokens = part.here();
    let behind = |at: usize| tokens.get(at + 1).map(|next| next.shape);
    tokens.iter().enumerate().any(|(at, token)| match token.shape {
        Shape::Parameter | Shape::Stray => true,
        // Not of a slice: `[1:2]`.
        Shape::Colon => behind(at) == Some(Shape::Word),
        Shape::Operator => part.text_of(token).contains('?') && !is_behind_operand(tokens, at),
        _ => is_named(tokens, at, part),
    })
}

fn is_behind_operand(tokens: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    before.is_some_and(|before| match before.shape {
        Shape::Close | Shape::CloseBracket | Shape::Number | Shape::Quoted | Shape::UnicodeQuoted => true,
        Shape::Literal | Shape::Escaped | Shape::Dollar | Shape::Unicode | Shape::Bits | Shape::Parameter => true,
        Shape::Word => before.kw.class() != Class::Reserved,
        _ => false,
    })
}

/// Whether this token may name a column, or a table of one.
fn is_named(tokens: &[Token], at: usize, part: Cursor<'_>) -> bool {
    let Some(token) = tokens.get(at) else { return false };
    let next = tokens.get(at + 1).map(|next| next.shape);
    // A type, and a literal of it.
    if matches!(next, Some(Shape::Literal | Shape::Escaped | Shape::Dollar | Shape::Unicode)) {
        return false;
    }
    match token.shape {
        Shape::Quoted | Shape::UnicodeQuoted => true,
        Shape::Word => {
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            // The name of a type, or of a parameter.
            let is_other = before.is_some_and(|before| matches!(before.shape, Shape::Cast | Shape::Colon) || before.kw == k::AS);
            matches!(token.kw.class(), Class::Plain | Class::Unreserved)
                && next != Some(Shape::Open)
                && !is_other
                && token.kw != k::ESCAPE
                && !part.text_of(token).is_empty()
        }
        _ => false,
    }
}

/// Whether anything in a condition may differ from row to row: parameters are the same for all of them.
fn may_differ(condition: Cursor<'_>) -> bool {
    let tokens = condition.here();
    tokens.iter().enumerate().any(|(at, token)| {
        let is_called = tokens.get(at + 1).is_some_and(|next| next.shape == Shape::Open);
        let is_chance = || BY_CHANCE.iter().any(|chance| condition.text_of(token).eq_ignore_ascii_case(chance));
        // `position` and `values` are columns, too, where nothing is called.
        let is_escape = token.kw == k::ESCAPE && tokens.get(at + 1).is_none_or(|next| next.shape != Shape::Literal);
        let is_column = token.kw.class() == Class::Column && !is_called || is_escape;
        token.shape == Shape::Stray || is_named(tokens, at, condition) || is_column || is_chance()
    })
}
