//! Heads of what changes the database itself: CREATE, ALTER, DROP, TRUNCATE, GRANT, REVOKE, COMMENT.

use super::{LONGEST, ends, goes_on, is_literal};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::Kw;

/// The words that name a kind of object after DROP, ALTER or CREATE, and how many tokens they are.
pub fn kind_of_object(c: &Cursor<'_>) -> Option<usize> {
    let second = c.kw(1);
    Some(match c.kw(0) {
        k::TABLE
        | k::VIEW
        | k::INDEX
        | k::SEQUENCE
        | k::SCHEMA
        | k::DATABASE
        | k::DOMAIN
        | k::TYPE
        | k::FUNCTION
        | k::PROCEDURE
        | k::ROUTINE
        | k::AGGREGATE
        | k::TRIGGER
        | k::RULE
        | k::POLICY
        | k::EXTENSION
        | k::ROLE
        | k::GROUP
        | k::TABLESPACE
        | k::COLLATION
        | k::CONVERSION
        | k::LANGUAGE
        | k::PUBLICATION
        | k::SUBSCRIPTION
        | k::SERVER
        | k::STATISTICS
        | k::CAST
        | k::TRANSFORM
        | k::SYSTEM
        | k::OWNED
        | k::CONSTRAINT
        | k::COLUMN => 1,
        k::USER => match (second, c.kw(2)) {
            (k::MAPPING, k::FOR | k::IF) => 2,
            _ => 1,
        },
        k::OPERATOR => match second {
            k::CLASS | k::FAMILY => 2,
            _ => 1,
        },
        k::MATERIALIZED if second == k::VIEW => 2,
        k::FOREIGN if second == k::TABLE => 2,
        k::FOREIGN if second == k::DATA => 3,
        k::EVENT if second == k::TRIGGER => 2,
        k::ACCESS if second == k::METHOD => 2,
        k::LARGE if second == k::OBJECT => 2,
        k::DEFAULT if second == k::PRIVILEGES => 2,
        k::TEXT if second == k::SEARCH => 3,
        k::PROCEDURAL if second == k::LANGUAGE => 2,
        k::TRUSTED if matches!(second, k::LANGUAGE | k::PROCEDURAL) => 2,
        _ => return None,
    })
}

pub(super) fn truncate(mut c: Cursor<'_>) -> bool {
    c.eat(k::TABLE);
    c.eat(k::ONLY);
    c.eat_shape(Shape::Open);
    c.eat_name()
        && (ends(&c)
            || goes_on(&c)
            || matches!(c.kw(0), k::RESTART | k::CONTINUE | k::CASCADE | k::RESTRICT)
                && c.peek(1).is_none_or(|next| next.kw != Kw::NONE || next.shape != Shape::Word))
}

pub(super) fn drop(mut c: Cursor<'_>) -> bool {
    let Some(words) = kind_of_object(&c) else { return false };
    let kind = c.kw(0);
    c.advance(words);
    match kind {
        k::OWNED => return c.eat(k::BY) && c.peek(0).is_some(),
        k::CAST => return c.shape(0) == Some(Shape::Open) || c.is(k::IF),
        k::TRANSFORM => return matches!(c.kw(0), k::FOR | k::IF),
        k::USER if words == 2 => return matches!(c.kw(0), k::FOR | k::IF),
        k::OPERATOR if words == 1 => return !ends(&c),
        _ => {}
    }
    c.eat(k::CONCURRENTLY);
    c.if_exists();
    if matches!(kind, k::ROLE | k::USER | k::GROUP) && c.is_role() && !c.is_name(0) {
        return true;
    }
    if !c.eat_name() {
        return false;
    }
    ends(&c)
        || matches!(c.shape(0), Some(Shape::Comma | Shape::Open))
        || matches!(c.kw(0), k::CASCADE | k::RESTRICT | k::ON | k::USING | k::WITH)
}

pub(super) fn alter(mut c: Cursor<'_>) -> bool {
    let Some(words) = kind_of_object(&c) else { return false };
    let kind = c.kw(0);
    c.advance(words);
    match kind {
        k::SYSTEM => return matches!(c.kw(0), k::SET | k::RESET),
        k::DEFAULT => return matches!(c.kw(0), k::GRANT | k::REVOKE | k::FOR | k::IN),
        k::OPERATOR | k::LARGE | k::CAST => return !ends(&c),
        _ => {}
    }
    if matches!(c.kw(0), k::ALL) || c.is(k::FOR) {
        return matches!(c.kw(1), k::IN | k::SET | k::RESET | k::USER | k::CURRENT_USER | k::CURRENT_ROLE | k::SESSION_USER)
            || c.is(k::FOR);
    }
    c.if_exists();
    if c.is_role() && !c.is_name(0) {
        c.advance(1);
    } else if c.relation().is_none() {
        return false;
    }
    // The arguments of a function, or the options of a dictionary, which are all that is said of it.
    if c.group().is_some() && ends(&c) {
        return true;
    }
    if c.eat(k::ON) {
        c.eat_name();
    }
    if kind == k::POLICY && ends(&c) {
        return true;
    }
    // Of an operator class its index method; of a policy its condition.
    if c.is(k::USING) && c.shape(1) == Some(Shape::Word) {
        c.advance(2);
    }
    if matches!(kind, k::ROLE | k::USER | k::GROUP | k::DATABASE | k::SUBSCRIPTION) {
        // Their options are plain words.
        return !ends(&c) || matches!(kind, k::ROLE | k::USER | k::DATABASE);
    }
    matches!(
        c.kw(0),
        k::ADD
            | k::DROP
            | k::ALTER
            | k::SET
            | k::RESET
            | k::RENAME
            | k::OWNER
            | k::ENABLE
            | k::DISABLE
            | k::FORCE
            | k::NO
            | k::ATTACH
            | k::DETACH
            | k::INHERIT
            | k::OF
            | k::NOT
            | k::CLUSTER
            | k::VALIDATE
            | k::REPLICA
            | k::OPTIONS
            | k::REFRESH
            | k::VERSION
            | k::UPDATE
            | k::TO
            | k::DEPENDS
            | k::HANDLER
            | k::VALIDATOR
            | k::CONNECTION
            | k::OPERATOR
            | k::MERGE
            | k::CALLED
            | k::RETURNS
            | k::IMMUTABLE
            | k::STABLE
            | k::VOLATILE
            | k::STRICT
            | k::SECURITY
            | k::EXTERNAL
            | k::LEAKPROOF
            | k::COST
            | k::ROWS
            | k::SUPPORT
            | k::PARALLEL
            | k::AS
            | k::INCREMENT
            | k::MINVALUE
            | k::MAXVALUE
            | k::START
            | k::RESTART
            | k::CACHE
            | k::CYCLE
            | k::OWNED
            | k::SEQUENCE
            | k::LOGGED
            | k::WITH
            | k::SKIP
            | k::FOR
            | k::USING
    ) || c.shape(0) == Some(Shape::Open)
}

pub(super) fn create(mut c: Cursor<'_>) -> bool {
    c.eat_all(&[k::OR, k::REPLACE]);
    let mut words = 0;
    while words < 4
        && matches!(
            c.kw(0),
            k::TEMP
                | k::TEMPORARY
                | k::LOCAL
                | k::GLOBAL
                | k::UNLOGGED
                | k::UNIQUE
                | k::RECURSIVE
                | k::DEFAULT
                | k::TRUSTED
                | k::PROCEDURAL
                | k::CONSTRAINT
        )
    {
        c.advance(1);
        words += 1;
    }
    let Some(words) = kind_of_object(&c) else { return false };
    let kind = c.kw(0);
    c.advance(words);
    match kind {
        k::CAST | k::TRANSFORM | k::OPERATOR | k::SCHEMA | k::USER | k::INDEX => !ends(&c),
        k::LARGE | k::SYSTEM | k::OWNED | k::COLUMN | k::CONSTRAINT => false,
        k::STATISTICS if c.shape(0) == Some(Shape::Open) || c.is(k::ON) => true,
        _ => {
            c.eat(k::CONCURRENTLY);
            c.eat_all(&[k::IF, k::NOT, k::EXISTS]);
            // `Create table of contents` has no parentheses, and no clause, behind its name.
            c.is_name(0) && {
                c.eat_name();
                ends(&c)
                    || c.shape(0) == Some(Shape::Open)
                    || c.kw(0) != Kw::NONE
                    || c.shape(0) == Some(Shape::Operator)
                    || matches!(kind, k::DATABASE | k::ROLE | k::EXTENSION | k::GROUP | k::DOMAIN)
            }
        }
    }
}

pub(super) fn rights(mut c: Cursor<'_>) -> bool {
    if c.kw(1) == k::OPTION && c.kw(2) == k::FOR {
        return true;
    }
    let mut first = true;
    // A list of rights or of roles, and then ON, TO or FROM.
    loop {
        if !matches!(c.shape(0), Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)) {
            return false;
        }
        if first && c.is(k::ALL) {
            c.advance(1);
            c.eat(k::PRIVILEGES);
        } else {
            let is_system = c.kw(0) == k::ALTER && c.kw(1) == k::SYSTEM;
            c.advance(if is_system { 2 } else { 1 });
        }
        first = false;
        c.group();
        if !c.eat_shape(Shape::Comma) {
            return matches!(c.kw(0), k::ON | k::TO | k::FROM);
        }
    }
}

pub(super) fn comment(mut c: Cursor<'_>) -> bool {
    if kind_of_object(&c).is_none() {
        return false;
    }
    // Whatever it is on, its text is a literal or NULL.
    let far = c.at + LONGEST;
    let on = c.until(|c| c.is(k::IS) || ends(c) || c.at > far);
    !on.here().is_empty() && c.eat(k::IS) && (is_literal(&c) || c.is(k::NULL))
}
