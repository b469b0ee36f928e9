//! Where a statement structurally begins. Prose begins with the same words (`Drop table seven from the plan`), so a verb alone is not
//! enough: what follows must be what PostgreSQL's grammar lets follow. Every statement that PostgreSQL accepts passes here.

mod rows;
mod schema;
mod session;

use super::lexer::{Shape, Token};
use super::tokens::{Cursor, k};
use super::words::Kw;
use rows::{copy, delete, insert, merge, select, update, with};
pub use schema::kind_of_object;
use schema::{alter, comment, create, drop, rights, truncate};
use session::{declare, explain, fetch, maintain, prepare, set, transaction};
pub use session::{explain_options, set_scope};

/// How many tokens tell mostly whether a statement begins.
pub const LONGEST: usize = 64;

/// Whether more than the first tokens are needed to tell: a list of columns, rights or roles can be of any length.
pub fn may_be_cut(cursor: &Cursor<'_>) -> bool {
    let Some(first) = cursor.peek(0) else { return true };
    let is_open = |token: &Token, at: usize| matches!(token.shape, Shape::Open | Shape::OpenBracket) && token.pair as usize == at;
    match first.shape {
        Shape::Open => true,
        Shape::Word if matches!(first.kw, k::GRANT | k::REVOKE | k::COMMENT) => true,
        Shape::Word if first.kw != Kw::NONE => cursor.here().iter().zip(cursor.at..).any(|(token, at)| is_open(token, at)),
        _ => false,
    }
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
        k::DO => {
            if c.eat(k::LANGUAGE) {
                let named = is_literal(&c) || c.is_name(0);
                c.advance(1);
                return named && (ends(&c) || is_literal(&c));
            }
            is_literal(&c)
        }
        k::CALL => c.name().is_some() && c.shape(0) == Some(Shape::Open),
        k::EXECUTE => c.name().is_some() && (ends(&c) || c.shape(0) == Some(Shape::Open)),
        k::PREPARE => prepare(c),
        k::DECLARE => declare(c),
        k::SET => set(c),
        k::RESET => matches!(c.kw(0), k::ALL | k::SESSION | k::TIME | k::TRANSACTION) || c.name().is_some() && ends(&c),
        k::SHOW => matches!(c.kw(0), k::ALL | k::SESSION | k::TIME | k::TRANSACTION) && ends_within(c, 3) || c.name().is_some() && ends(&c),
        k::BEGIN | k::START | k::COMMIT | k::END | k::ROLLBACK | k::ABORT => transaction(c, verb),
        k::SAVEPOINT => one_name(c),
        k::RELEASE => one_name(c) || c.eat(k::SAVEPOINT) && one_name(c),
        k::LOAD => is_literal(&c),
        k::LISTEN => one_name(c),
        k::UNLISTEN => c.is_operator(0, "*") || one_name(c),
        k::NOTIFY => c.name().is_some() && (ends(&c) || c.shape(0) == Some(Shape::Comma)),
        k::DISCARD => matches!(c.kw(0), k::ALL | k::PLANS | k::SEQUENCES | k::TEMP | k::TEMPORARY) && ends_within(c, 1),
        k::DEALLOCATE => {
            if !ends(&Cursor { at: c.at + 1, ..c }) {
                c.eat(k::PREPARE);
            }
            (c.eat(k::ALL) || c.name().is_some()) && ends(&c)
        }
        k::CLOSE => (c.eat(k::ALL) || c.name().is_some()) && ends(&c),
        k::FETCH | k::MOVE => fetch(c),
        k::LOCK => {
            c.eat(k::TABLE);
            c.eat(k::ONLY);
            c.eat_shape(Shape::Open);
            c.name().is_some() && (ends(&c) || matches!(c.kw(0), k::IN | k::NOWAIT) || goes_on(&c) || c.shape(0) == Some(Shape::Close))
        }
        k::CHECKPOINT => ends(&c) || c.shape(0) == Some(Shape::Open),
        k::VACUUM | k::ANALYZE | k::ANALYSE | k::CLUSTER | k::REPACK => maintain(c),
        k::REINDEX => {
            c.group();
            let kind = matches!(c.kw(0), k::INDEX | k::TABLE | k::SCHEMA | k::DATABASE | k::SYSTEM);
            c.advance(1);
            c.eat(k::CONCURRENTLY);
            kind && (ends(&c) || c.name().is_some() && ends(&c))
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
    c.name().is_some() && ends(&c)
}
