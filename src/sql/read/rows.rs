//! DELETE, UPDATE and MERGE: which rows they are for.

use super::condition::{Truth, speaks_of, truth};
use super::{Reader, head};
use crate::sql::act::{Act, Rows};
use crate::sql::decode;
use crate::sql::finding::{Kind, Name};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::{Class, Kw};

impl Reader {
    pub(super) fn rows(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        let verb = rest.kw(0);
        rest.advance(1);
        match verb {
            k::DELETE => {
                rest.eat(k::FROM);
                let table = rest.relation()?;
                let called = called(&mut rest, &table, &[k::USING, k::WHERE, k::RETURNING]);
                let joined = joined(&mut rest, k::USING);
                let rows = self.chosen(rest, &called, joined);
                if self.may_look(cursor.here().len()) && is_prose(cursor) {
                    return None;
                }
                self.note(Act::Delete(rows), Kind::Delete, vec![table], cursor);
                Some(Kind::Delete)
            }
            k::UPDATE => {
                let table = rest.relation()?;
                let called = called(&mut rest, &table, &[k::SET]);
                rest.until(|c| c.is(k::SET));
                let joined = joined(&mut rest, k::FROM);
                let rows = self.chosen(rest, &called, joined);
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
    fn chosen(&mut self, mut rest: Cursor<'_>, called: &str, joined: Option<Cursor<'_>>) -> Rows {
        if !rest.eat(k::WHERE) {
            return Rows::All;
        }
        if rest.is(k::CURRENT) && rest.kw(1) == k::OF {
            return Rows::Chosen;
        }
        let condition = rest.until(|c| matches!(c.kw(0), k::RETURNING | k::ORDER | k::LIMIT | k::WHERE) || head::ends(c));
        match rows_of(truth(self, condition)) {
            Rows::Chosen if !self.speaks_of(condition, called, joined) => Rows::AllOrNone,
            rows => rows,
        }
    }

    /// Whether a condition looks at the rows of the table that is changed, and not at those of others alone.
    fn speaks_of(&mut self, condition: Cursor<'_>, called: &str, joined: Option<Cursor<'_>>) -> bool {
        let Some(joined) = joined else { return true };
        // Where too much was looked at already, that is told.
        !self.may_look(condition.here().len() + joined.here().len()) || speaks_of(condition, called, joined)
    }

    fn merge(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<Kind> {
        rest.eat(k::INTO);
        let table = rest.relation()?;
        let called = called(&mut rest, &table, &[k::USING]);
        rest.eat(k::USING);
        let source = rest;
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
        let source = Cursor { end: on.at, ..source };
        on.advance(1);
        let on = Cursor { end: rest.at, ..on };
        let matched = truth(self, on);
        let are_joined = self.speaks_of(on, &called, Some(source));
        while rest.eat(k::WHEN) {
            let not = rest.eat(k::NOT);
            rest.eat(k::MATCHED);
            let by_source = rest.eat(k::BY) && rest.eat(k::SOURCE);
            if rest.is(k::TARGET) {
                rest.advance(1);
            }
            let mut speaks = are_joined;
            let condition = if rest.eat(k::AND) {
                let from = rest.at;
                skip_to(&mut rest, k::THEN);
                let condition = Cursor { at: from, end: rest.at, ..rest };
                speaks |= self.speaks_of(condition, &called, Some(source));
                truth(self, condition)
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
                other => match rows_of(other) {
                    Rows::Chosen if !speaks && !matches!(other, Truth::False | Truth::Null) => Rows::AllOrNone,
                    rows => rows,
                },
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

/// What the table is called in the statement: by its alias, if it has one.
fn called(rest: &mut Cursor<'_>, table: &Name, stop: &[Kw]) -> String {
    let is_alias = rest.eat(k::AS) || rest.is_name(0) && !stop.contains(&rest.kw(0));
    let alias = rest.peek(0).filter(|_| is_alias).map(|token| decode::name(token.shape, rest.text_of(token)));
    if alias.is_some() {
        rest.advance(1);
    }
    alias.or_else(|| table.parts.last().cloned()).unwrap_or_default()
}

/// To the WHERE, or what comes instead: what is joined behind USING or FROM, if anything is.
fn joined<'t>(rest: &mut Cursor<'t>, by: Kw) -> Option<Cursor<'t>> {
    let ends = |c: &Cursor<'_>| matches!(c.kw(0), k::WHERE | k::RETURNING) || head::ends(c);
    rest.until(|c| c.is(by) && !c.is_behind(k::DISTINCT) || ends(c));
    rest.eat(by).then(|| rest.until(ends))
}

/// Outside of CASE … END.
fn skip_to(rest: &mut Cursor<'_>, stop: Kw) {
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
