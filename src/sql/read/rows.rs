//! DELETE, UPDATE and MERGE: which rows they are for.

use super::condition::{Truth, truth};
use super::{Reader, head};
use crate::sql::act::{Act, Rows};
use crate::sql::finding::Kind;
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::Class;

impl Reader {
    pub(super) fn rows(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        let verb = rest.kw(0);
        rest.advance(1);
        match verb {
            k::DELETE => {
                rest.eat(k::FROM);
                let table = rest.relation()?;
                rest.until(|c| matches!(c.kw(0), k::WHERE | k::RETURNING) || head::ends(c));
                let rows = self.chosen(rest);
                if self.may_look(cursor.here().len()) && is_prose(cursor) {
                    return None;
                }
                self.note(Act::Delete(rows), Kind::Delete, vec![table], cursor);
                Some(Kind::Delete)
            }
            k::UPDATE => {
                let table = rest.relation()?;
                rest.until(|c| c.is(k::SET));
                rest.until(|c| matches!(c.kw(0), k::WHERE | k::RETURNING) || head::ends(c));
                let rows = self.chosen(rest);
                if self.may_look(cursor.here().len()) && is_prose(cursor) {
                    return None;
                }
                self.note(Act::Update(rows), Kind::Update, vec![table], cursor);
                Some(Kind::Update)
            }
            _ => self.merge(cursor, rest),
        }
    }

    /// From a WHERE on, if there is one.
    fn chosen(&mut self, mut rest: Cursor<'_>) -> Rows {
        if !rest.eat(k::WHERE) {
            return Rows::All;
        }
        if rest.is(k::CURRENT) && rest.kw(1) == k::OF {
            return Rows::Chosen;
        }
        let condition = rest.until(|c| matches!(c.kw(0), k::RETURNING | k::ORDER | k::LIMIT | k::WHERE) || head::ends(c));
        rows_of(truth(self, condition))
    }

    fn merge(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<Kind> {
        rest.eat(k::INTO);
        let table = rest.relation()?;
        // The last ON before the first WHEN is the one of the MERGE; a join in its source has others.
        let mut on = None;
        let mut cases = 0_usize;
        while !(rest.is_end() || rest.is(k::WHEN) && cases == 0) {
            match rest.kw(0) {
                k::ON => on = Some(rest),
                k::CASE => cases += 1,
                k::END => cases = cases.saturating_sub(1),
                _ => {}
            }
            rest.skip();
        }
        let mut on = on?;
        on.advance(1);
        let matched = truth(self, Cursor { end: rest.at, ..on });
        while rest.eat(k::WHEN) {
            let not = rest.eat(k::NOT);
            rest.eat(k::MATCHED);
            let by_source = rest.eat(k::BY) && rest.eat(k::SOURCE);
            if rest.is(k::TARGET) {
                rest.advance(1);
            }
            let condition = if rest.eat(k::AND) {
                let from = rest.at;
                skip_to(&mut rest, k::THEN);
                truth(self, Cursor { at: from, end: rest.at, ..rest })
            } else {
                Truth::True
            };
            rest.eat(k::THEN);
            let joined = match (not, by_source) {
                (false, _) => matched,
                (true, true) => matched.not(),
                // What matches nothing is inserted.
                (true, false) => Truth::Row,
            };
            let rows = match joined.and(condition) {
                // Which rows match is for the join to say, as long as it looks at any.
                Truth::True => Rows::AllAfterAll,
                other => rows_of(other),
            };
            let act = match rest.kw(0) {
                k::DELETE => Some((Act::Delete(rows), Kind::Delete)),
                k::UPDATE => Some((Act::Update(rows), Kind::Update)),
                _ => None,
            };
            if let Some((act, kind)) = act {
                self.note(act, kind, vec![table.clone()], cursor);
            }
            skip_to(&mut rest, k::WHEN);
        }
        Some(Kind::Merge)
    }
}

/// Outside of CASE … END.
fn skip_to(rest: &mut Cursor<'_>, stop: crate::sql::words::Kw) {
    let mut cases = 0_usize;
    while !(rest.is_end() || rest.is(stop) && cases == 0) {
        match rest.kw(0) {
            k::CASE => cases += 1,
            k::END => cases = cases.saturating_sub(1),
            _ => {}
        }
        rest.skip();
    }
}

fn rows_of(truth: Truth) -> Rows {
    match truth {
        Truth::True => Rows::AllAfterAll,
        Truth::Fixed | Truth::RowAtLeast => Rows::AllOrNone,
        Truth::False | Truth::Null | Truth::Row | Truth::RowAtMost => Rows::Chosen,
    }
}

/// No SQL has three words in a row that are neither keywords nor quoted; sentences have.
pub(super) fn is_prose(cursor: Cursor<'_>) -> bool {
    let plain = |token: &crate::sql::lexer::Token| token.shape == Shape::Word && token.kw.class() == Class::Plain;
    cursor.here().windows(3).any(|three| three.iter().all(plain))
}
