//! Heads of what concerns the session: settings, transactions, cursors, prepared statements, EXPLAIN, and keeping house.

use super::{begins, ends, ends_within, goes_on, is_literal};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::Kw;

pub(super) fn explain(mut c: Cursor<'_>) -> bool {
    explain_options(&mut c);
    while matches!(c.kw(0), k::ANALYZE | k::ANALYSE | k::VERBOSE) {
        c.advance(1);
    }
    !c.is(k::EXPLAIN) && begins(&c)
}

/// The options of EXPLAIN in parentheses, which could also be around a query.
pub fn explain_options<'t>(c: &mut Cursor<'t>) -> Option<Cursor<'t>> {
    let is_query = matches!(c.kw(1), k::SELECT | k::WITH | k::VALUES | k::TABLE) || c.shape(1) == Some(Shape::Open);
    if is_query { None } else { c.group() }
}

/// SESSION and LOCAL, unless they are the name of what is set.
pub fn set_scope(c: &mut Cursor<'_>) {
    for _ in 0..2 {
        let is_name = c.is_operator(1, "=") || c.kw(1) == k::TO || c.shape(1) == Some(Shape::Dot);
        if matches!(c.kw(0), k::LOCAL | k::SESSION) && !is_name {
            c.advance(1);
        }
    }
}

pub(super) fn prepare(mut c: Cursor<'_>) -> bool {
    if c.eat(k::TRANSACTION) {
        return is_literal(&c);
    }
    c.eat_name() && {
        c.group();
        c.is(k::AS)
    }
}

pub(super) fn declare(mut c: Cursor<'_>) -> bool {
    c.eat_name() && {
        while matches!(c.kw(0), k::BINARY | k::INSENSITIVE | k::ASENSITIVE | k::SCROLL | k::NO) {
            c.advance(1);
        }
        c.is(k::CURSOR)
    }
}

pub(super) fn set(mut c: Cursor<'_>) -> bool {
    set_scope(&mut c);
    match c.kw(0) {
        k::TRANSACTION | k::CHARACTERISTICS | k::CONSTRAINTS | k::AUTHORIZATION => return c.peek(1).is_some(),
        k::TIME if c.kw(1) == k::ZONE => return true,
        k::NAMES if ends(&Cursor { at: c.at + 1, ..c }) => return true,
        k::ROLE | k::NAMES | k::CATALOG | k::SCHEMA => {
            return c.peek(1).is_some() && (ends_within(c, 2) || c.is_operator(1, "=") || c.kw(1) == k::TO);
        }
        k::XML => return c.kw(1) == k::OPTION,
        _ => {}
    }
    c.eat_name() && (c.is_operator(0, "=") || matches!(c.kw(0), k::TO) || c.eat_all(&[k::FROM, k::CURRENT]))
}

pub(super) fn transaction(mut c: Cursor<'_>, verb: Kw) -> bool {
    if verb == k::START && !c.is(k::TRANSACTION) {
        return false;
    }
    if matches!(c.kw(0), k::WORK | k::TRANSACTION) {
        c.advance(1);
    }
    ends(&c)
        || matches!(c.kw(0), k::ISOLATION | k::READ | k::DEFERRABLE | k::NOT | k::AND | k::TO)
        || matches!(verb, k::COMMIT | k::ROLLBACK) && c.is(k::PREPARED)
}

pub(super) fn fetch(mut c: Cursor<'_>) -> bool {
    // At most: a direction, a count, FROM or IN, and the cursor.
    for _ in 0..5 {
        match c.shape(0) {
            Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted | Shape::Number) => c.advance(1),
            Some(Shape::Operator) => c.advance(1),
            _ => return ends(&c),
        }
        if ends(&c) {
            return true;
        }
    }
    false
}

pub(super) fn maintain(mut c: Cursor<'_>) -> bool {
    c.group();
    while matches!(c.kw(0), k::FULL | k::FREEZE | k::VERBOSE | k::ANALYZE | k::ANALYSE) {
        c.advance(1);
    }
    if ends(&c) {
        return true;
    }
    c.eat(k::ONLY);
    c.eat_name() && (ends(&c) || goes_on(&c) || c.shape(0) == Some(Shape::Open) || matches!(c.kw(0), k::USING | k::ON))
}
