//! Heads of what reads and changes rows: SELECT, INSERT, UPDATE, DELETE, MERGE, WITH, COPY.

use super::{ends, is_literal};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::{Class, Kw};

pub(super) fn select(mut c: Cursor<'_>) -> bool {
    if c.eat(k::DISTINCT) {
        if c.eat(k::ON) {
            return c.shape(0) == Some(Shape::Open);
        }
    } else {
        c.eat(k::ALL);
    }
    let Some(first) = c.peek(0) else { return true };
    if first.shape != Shape::Word {
        return true;
    }
    // A word that PostgreSQL reserves is no name: it stands in an expression, or begins the next clause.
    if first.kw.class() == Class::Reserved {
        return true;
    }
    c.advance(1);
    match c.peek(0) {
        None => true,
        Some(next) if next.shape == Shape::Word => {
            is_clause(next.kw) || is_infix(next.kw) || is_literal_after_type(&c) || {
                // What it is called, and then the list goes on or ends.
                c.advance(1);
                match c.peek(0) {
                    None => true,
                    Some(after) => {
                        matches!(after.shape, Shape::Comma | Shape::Close | Shape::Semicolon)
                            || is_clause(after.kw)
                            || is_literal(&c)
                            || is_infix(after.kw)
                    }
                }
            }
        }
        Some(next) => !matches!(next.shape, Shape::Stray),
    }
}

/// `double precision '1'`, `timestamp with time zone 'x'`, `interval '1' day`.
fn is_literal_after_type(c: &Cursor<'_>) -> bool {
    matches!(c.kw(0), k::PRECISION | k::VARYING | k::CHARACTER | k::CHAR | k::WITH | k::WITHOUT)
}

fn is_clause(kw: Kw) -> bool {
    matches!(
        kw,
        k::FROM
            | k::INTO
            | k::WHERE
            | k::GROUP
            | k::HAVING
            | k::WINDOW
            | k::UNION
            | k::INTERSECT
            | k::EXCEPT
            | k::ORDER
            | k::LIMIT
            | k::OFFSET
            | k::FETCH
            | k::FOR
            | k::AS
    )
}

fn is_infix(kw: Kw) -> bool {
    matches!(
        kw,
        k::AND
            | k::OR
            | k::IS
            | k::IN
            | k::LIKE
            | k::ILIKE
            | k::BETWEEN
            | k::SIMILAR
            | k::COLLATE
            | k::AT
            | k::OPERATOR
            | k::NOT
            | k::ISNULL
            | k::NOTNULL
            | k::OVERLAPS
            | k::OVER
            | k::FILTER
    )
}

pub(super) fn insert(mut c: Cursor<'_>) -> bool {
    c.eat(k::INTO) && c.eat_name() && {
        if c.eat(k::AS) {
            c.advance(1);
        }
        ends(&c)
            || c.shape(0) == Some(Shape::Open)
            || matches!(c.kw(0), k::VALUES | k::SELECT | k::DEFAULT | k::OVERRIDING | k::WITH | k::TABLE)
    }
}

/// `ONLY`, a name, `*`, and what it is called here.
fn relation(c: &mut Cursor<'_>, stop: &[Kw]) -> bool {
    if c.relation().is_none() {
        return false;
    }
    if c.eat(k::AS) {
        return c.is_name(0) && {
            c.advance(1);
            true
        };
    }
    if c.is_name(0) && !stop.contains(&c.kw(0)) {
        c.advance(1);
    }
    true
}

pub(super) fn delete(mut c: Cursor<'_>) -> bool {
    c.eat(k::FROM) && relation(&mut c, &[]) && (ends(&c) || matches!(c.kw(0), k::USING | k::WHERE | k::RETURNING | k::ORDER | k::LIMIT))
}

pub(super) fn update(mut c: Cursor<'_>) -> bool {
    relation(&mut c, &[k::SET]) && c.eat(k::SET) && (c.shape(0) == Some(Shape::Open) || assignment(c))
}

fn assignment(mut c: Cursor<'_>) -> bool {
    if !matches!(c.shape(0), Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)) {
        return false;
    }
    c.advance(1);
    loop {
        match c.shape(0) {
            Some(Shape::Dot) => c.advance(2),
            Some(Shape::OpenBracket) => c.skip(),
            Some(Shape::Operator) => return c.word(0).starts_with('='),
            _ => return false,
        }
    }
}

pub(super) fn merge(mut c: Cursor<'_>) -> bool {
    c.eat(k::INTO) && relation(&mut c, &[k::USING]) && c.is(k::USING)
}

pub(super) fn with(mut c: Cursor<'_>) -> bool {
    c.eat_recursive();
    if !c.eat_name() {
        return false;
    }
    c.group();
    if !c.eat(k::AS) {
        return false;
    }
    c.eat(k::NOT);
    c.eat(k::MATERIALIZED);
    c.shape(0) == Some(Shape::Open)
}

pub(super) fn copy(mut c: Cursor<'_>) -> bool {
    if c.eat(k::BINARY) && c.is_end() {
        return false;
    }
    if c.shape(0) == Some(Shape::Open) {
        return matches!(c.kw(1), k::SELECT | k::WITH | k::VALUES | k::TABLE | k::INSERT | k::UPDATE | k::DELETE | k::MERGE)
            || c.shape(1) == Some(Shape::Open);
    }
    c.eat_name() && {
        c.group();
        matches!(c.kw(0), k::FROM | k::TO)
            && (is_literal(&Cursor { at: c.at + 1, ..c }) || matches!(c.kw(1), k::STDIN | k::STDOUT | k::PROGRAM))
    }
}
