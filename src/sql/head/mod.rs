//! Where a statement structurally begins. Prose begins with the same words (`Drop table seven from the plan`), so a verb alone is not
//! enough: what follows must be what PostgreSQL's grammar lets follow. Every statement that PostgreSQL accepts passes here.

mod rows;
mod schema;
mod session;

use super::lexer::Shape;
use super::tokens::{Cursor, k};
use super::words::Kw;
use rows::{copy, delete, insert, merge, select, update, with};
pub use schema::kind_of_object;
use schema::{alter, comment, create, drop, rights, truncate};
use session::{declare, explain, fetch, maintain, prepare, set, transaction};
pub use session::{explain_options, set_scope};

/// How many tokens tell mostly whether a statement begins.
pub const LONGEST: usize = 64;

/// The words that statements begin with.
pub fn is_verb(kw: Kw) -> bool {
    matches!(
        kw,
        k::SELECT
            | k::INSERT
            | k::DELETE
            | k::UPDATE
            | k::MERGE
            | k::WITH
            | k::VALUES
            | k::TABLE
            | k::TRUNCATE
            | k::DROP
            | k::ALTER
            | k::CREATE
            | k::GRANT
            | k::REVOKE
            | k::COPY
            | k::EXPLAIN
            | k::DO
            | k::CALL
            | k::EXECUTE
            | k::PREPARE
            | k::DECLARE
            | k::SET
            | k::RESET
            | k::SHOW
            | k::BEGIN
            | k::START
            | k::COMMIT
            | k::END
            | k::ROLLBACK
            | k::ABORT
            | k::SAVEPOINT
            | k::RELEASE
            | k::LOAD
            | k::LISTEN
            | k::UNLISTEN
            | k::NOTIFY
            | k::DISCARD
            | k::DEALLOCATE
            | k::CLOSE
            | k::FETCH
            | k::MOVE
            | k::LOCK
            | k::CHECKPOINT
            | k::REINDEX
            | k::REFRESH
            | k::REASSIGN
            | k::COMMENT
            | k::SECURITY
            | k::IMPORT
            | k::VACUUM
            | k::ANALYZE
            | k::ANALYSE
            | k::CLUSTER
            | k::REPACK
    )
}

/// Whether more than these tokens are needed to tell, for what they begin can be of any length: a list of columns, rights or roles.
pub fn may_be_cut(cursor: &Cursor<'_>) -> bool {
    let mut c = *cursor;
    let first = c.kw(0);
    if c.shape(0) == Some(Shape::Open) {
        while c.eat_shape(Shape::Open) {}
        return c.is_end() || matches!(c.kw(0), k::SELECT | k::WITH | k::VALUES | k::TABLE) && may_be_cut(&c);
    }
    c.advance(1);
    match first {
        k::WITH => {
            c.eat_recursive();
            if !c.eat_name() {
                return false;
            }
        }
        k::GRANT | k::REVOKE => {
            let mut list = c;
            while list.shape(0).is_some_and(|shape| matches!(shape, Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)) {
                list.advance(1);
                list.group();
                if matches!(list.kw(0), k::PRIVILEGES | k::SYSTEM) {
                    list.advance(1);
                }
                if !list.eat_shape(Shape::Comma) {
                    break;
                }
            }
            return list.is_end() || list.shape(0) == Some(Shape::Open);
        }
        k::COMMENT => return c.eat(k::ON) && schema::kind_of_object(&c).is_some(),
        k::EXPLAIN => {
            explain_options(&mut c);
            while matches!(c.kw(0), k::ANALYZE | k::ANALYSE | k::VERBOSE) {
                c.advance(1);
            }
            if c.shape(0) != Some(Shape::Open) {
                return may_be_cut(&c);
            }
        }
        k::ALTER => {
            c.advance(schema::kind_of_object(&c).unwrap_or_default());
            c.if_exists();
            c.eat_name();
        }
        k::PREPARE | k::COPY | k::CALL => {
            c.eat_name();
        }
        k::VACUUM | k::ANALYZE | k::ANALYSE | k::CLUSTER | k::REINDEX | k::REPACK => {}
        _ => return false,
    }
    // The list opens here, and does not close within these tokens.
    matches!(c.shape(0), Some(Shape::Open | Shape::OpenBracket)) && c.group_end() == c.at
}

/// Whether a statement begins here.
pub fn begins(cursor: &Cursor<'_>) -> bool {
    let mut c = *cursor;
    let Some(first) = c.peek(0) else { return false };
    if first.shape == Shape::Open {
        while c.eat_shape(Shape::Open) {}
        return matches!(c.kw(0), k::SELECT | k::WITH | k::VALUES | k::TABLE) && begins(&c);
    }
    if first.shape != Shape::Word {
        return false;
    }
    let verb = first.kw;
    if !is_verb(verb) {
        return false;
    }
    c.advance(1);
    match verb {
        k::SELECT => select(c),
        k::INSERT => insert(c),
        k::DELETE => delete(c),
        k::UPDATE => update(c),
        k::MERGE => merge(c),
        k::WITH => with(c),
        k::VALUES => c.shape(0) == Some(Shape::Open),
        k::TABLE => {
            c.relation().is_some() && {
                ends(&c) || matches!(c.kw(0), k::ORDER | k::LIMIT | k::OFFSET | k::FETCH | k::UNION | k::EXCEPT | k::INTERSECT | k::FOR)
            }
        }
        k::TRUNCATE => truncate(c),
        k::DROP => drop(c),
        k::ALTER => alter(c),
        k::CREATE => create(c),
        k::GRANT | k::REVOKE => rights(c),
        k::COPY => copy(c),
        k::EXPLAIN => explain(c),
        k::DO => do_block(c),
        k::CALL => c.eat_name() && c.shape(0) == Some(Shape::Open),
        k::EXECUTE => c.eat_name() && (ends(&c) || c.shape(0) == Some(Shape::Open)),
        k::PREPARE => prepare(c),
        k::DECLARE => declare(c),
        k::SET => set(c),
        k::RESET => matches!(c.kw(0), k::ALL | k::SESSION | k::TIME | k::TRANSACTION) || c.eat_name() && ends(&c),
        k::SHOW => matches!(c.kw(0), k::ALL | k::SESSION | k::TIME | k::TRANSACTION) && ends_within(c, 3) || c.eat_name() && ends(&c),
        k::BEGIN | k::START | k::COMMIT | k::END | k::ROLLBACK | k::ABORT => transaction(c, verb),
        k::SAVEPOINT => one_name(c),
        k::RELEASE => one_name(c) || c.eat(k::SAVEPOINT) && one_name(c),
        k::LOAD => is_literal(&c),
        k::LISTEN => one_name(c),
        k::UNLISTEN => c.is_operator(0, "*") || one_name(c),
        k::NOTIFY => c.eat_name() && (ends(&c) || c.shape(0) == Some(Shape::Comma)),
        k::DISCARD => matches!(c.kw(0), k::ALL | k::PLANS | k::SEQUENCES | k::TEMP | k::TEMPORARY) && ends_within(c, 1),
        k::DEALLOCATE => {
            if !ends(&Cursor { at: c.at + 1, ..c }) {
                c.eat(k::PREPARE);
            }
            (c.eat(k::ALL) || c.eat_name()) && ends(&c)
        }
        k::CLOSE => (c.eat(k::ALL) || c.eat_name()) && ends(&c),
        k::FETCH | k::MOVE => fetch(c),
        k::LOCK => {
            c.eat(k::TABLE);
            c.eat(k::ONLY);
            c.eat_shape(Shape::Open);
            c.eat_name() && (ends(&c) || matches!(c.kw(0), k::IN | k::NOWAIT) || goes_on(&c) || c.shape(0) == Some(Shape::Close))
        }
        k::CHECKPOINT => ends(&c) || c.shape(0) == Some(Shape::Open),
        k::VACUUM | k::ANALYZE | k::ANALYSE | k::CLUSTER | k::REPACK => maintain(c),
        k::REINDEX => {
            c.group();
            let kind = matches!(c.kw(0), k::INDEX | k::TABLE | k::SCHEMA | k::DATABASE | k::SYSTEM);
            c.advance(1);
            c.eat(k::CONCURRENTLY);
            kind && (ends(&c) || c.eat_name() && ends(&c))
        }
        k::REFRESH => c.eat_all(&[k::MATERIALIZED, k::VIEW]),
        k::REASSIGN => c.eat_all(&[k::OWNED, k::BY]),
        k::COMMENT => c.eat(k::ON) && comment(c),
        k::SECURITY => c.eat(k::LABEL),
        k::IMPORT => c.eat_all(&[k::FOREIGN, k::SCHEMA]),
        _ => false,
    }
}

/// The end of the statement, or of the parentheses around it.
pub fn ends(c: &Cursor<'_>) -> bool {
    c.is_end() || matches!(c.shape(0), Some(Shape::Semicolon | Shape::Close))
}

fn ends_within(mut c: Cursor<'_>, most: usize) -> bool {
    (0..most).any(|_| {
        c.advance(1);
        ends(&c)
    })
}

/// A list goes on, or a name does.
fn goes_on(c: &Cursor<'_>) -> bool {
    matches!(c.shape(0), Some(Shape::Comma)) || c.is_operator(0, "*")
}

fn is_literal(c: &Cursor<'_>) -> bool {
    matches!(c.shape(0), Some(Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar))
}

fn one_name(mut c: Cursor<'_>) -> bool {
    c.eat_name() && ends(&c)
}

/// Code and its language, in any order; PostgreSQL's grammar takes either more than once.
fn do_block(mut c: Cursor<'_>) -> bool {
    let mut any = false;
    while !ends(&c) {
        let is_known = if c.eat(k::LANGUAGE) { is_literal(&c) || c.is_name(0) } else { is_literal(&c) };
        if !is_known {
            return false;
        }
        any = true;
        c.advance(1);
    }
    any
}
