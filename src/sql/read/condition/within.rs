//! What has an inside: functions and what they are given, CASE, lists, parentheses and the queries in them.

use super::expression::Expression;
use super::looks_at_something;
use super::query::{is_query, worded_arguments};
use super::truth::Truth;
use super::value::{FIXED, ROW, Value, equal, is_all};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::Class;

/// Functions that come to something else for every row, though they look at none.
pub(super) const BY_CHANCE: [&str; 4] = ["random", "gen_random_uuid", "uuid_generate_v4", "random_normal"];

/// `random() < 0.1` and the like: a share of the rows.
fn is_a_share(behind: &Cursor<'_>) -> bool {
    let compared = ["<", "<=", ">", ">="].iter().any(|operator| behind.is_operator(0, operator));
    compared && behind.shape(1) == Some(Shape::Number) && behind.word(1).parse::<f64>().is_ok_and(|share| 0.0 < share && share < 1.0)
}

impl<'t> Expression<'t, '_> {
    /// A column, or a function that is called.
    pub(super) fn named(&mut self) -> Option<Value<'t>> {
        let from = self.rest.at;
        match self.rest.peek(0) {
            Some(token) if token.shape == Shape::Word && token.kw.class() == Class::Reserved => return None,
            _ => self.rest.advance(1),
        }
        while self.rest.shape(0) == Some(Shape::Dot) {
            self.rest.advance(2);
        }
        let name = self.rest.tokens.get(self.rest.at.saturating_sub(1))?;
        let function = self.rest.text_of(name);
        if self.rest.shape(0) != Some(Shape::Open) {
            return (self.rest.at > from).then_some(ROW);
        }
        let group = self.rest.group()?;
        let asks_more = self.after_arguments();
        if BY_CHANCE.iter().any(|chance| function.eq_ignore_ascii_case(chance)) {
            return Some(if is_a_share(&self.rest) { ROW } else { FIXED });
        }
        if let Some(looks) = worded_arguments(function, group) {
            return Some(if looks || asks_more { ROW } else { FIXED });
        }
        let mut arguments = group;
        if function.eq_ignore_ascii_case("extract") && arguments.kw(1) == k::FROM {
            arguments.advance(2);
        }
        if function.eq_ignore_ascii_case("coalesce")
            && let Some(value) = self.first_that_is(arguments)
        {
            return Some(value);
        }
        let value = match is_query(arguments) {
            true => Some(self.query(arguments)),
            false => self.list(arguments),
        };
        Some(match value {
            _ if asks_more => ROW,
            Some(value) => value.with(&FIXED),
            None if looks_at_something(arguments) => ROW,
            None => FIXED,
        })
    }

    /// `WITHIN GROUP (…)`, `FILTER (…)`, `OVER w`: whether any of it looks at something.
    pub(super) fn after_arguments(&mut self) -> bool {
        let from = self.rest.at;
        if self.rest.eat_all(&[k::WITHIN, k::GROUP]) {
            self.rest.group();
        }
        if self.rest.is(k::FILTER) && self.rest.shape(1) == Some(Shape::Open) {
            self.rest.advance(1);
            self.rest.group();
        }
        if self.rest.is(k::OVER) {
            self.rest.advance(1);
            if self.rest.group().is_none() {
                self.rest.advance(1);
            }
        }
        self.rest.at > from && looks_at_something(self.since(from))
    }

    pub(super) fn case(&mut self) -> Option<Value<'t>> {
        self.rest.advance(1);
        let subject = if self.rest.is(k::WHEN) { None } else { Some(self.deeper(Self::or)?) };
        let mut seen = FIXED;
        let mut decided = true;
        let mut result = None;
        // Whether a constant may choose a branch that is true for every row.
        let mut may_be_all = false;
        let mut are_all = true;
        // Whether it is for the row to choose, and for nothing else.
        let mut by_row_alone = true;
        let mut asks_row = false;
        while self.rest.eat(k::WHEN) {
            let when = self.deeper(Self::or)?;
            self.rest.eat(k::THEN).then_some(())?;
            let then = self.deeper(Self::or)?;
            are_all &= is_all(&then);
            // Of two values that are compared, as of a condition.
            let here = Cursor { end: self.rest.at, ..self.rest };
            let chosen = match &subject {
                Some(subject) => equal(subject, &when, here, here),
                None => when.truth(),
            };
            match chosen {
                Truth::True => {
                    if decided {
                        result.get_or_insert(then.clone());
                    }
                    may_be_all |= is_all(&then);
                    decided = false;
                }
                Truth::False | Truth::Null => continue,
                Truth::Row | Truth::RowAtMost => {
                    decided = false;
                    by_row_alone &= chosen == Truth::Row;
                    asks_row = true;
                }
                _ => {
                    decided = false;
                    by_row_alone = false;
                    may_be_all |= is_all(&then);
                }
            }
            seen = seen.with(&when).with(&then);
        }
        let other = if self.rest.eat(k::ELSE) { self.deeper(Self::or)? } else { Value::Truth(Truth::Null) };
        self.rest.eat(k::END).then_some(())?;
        if let Some(result) = result {
            return Some(result);
        }
        if decided {
            return Some(other);
        }
        let are_all = are_all && is_all(&other);
        let by_row = seen.with(&other).with(&subject.unwrap_or(FIXED));
        may_be_all |= !asks_row && is_all(&other);
        Some(if may_be_all || are_all {
            FIXED
        } else if by_row.is_row() && !by_row_alone {
            Value::Truth(Truth::RowAtMost)
        } else {
            by_row
        })
    }

    /// What stands in parentheses: a query, an expression, or a row of them.
    pub(super) fn group(&mut self, group: Cursor<'t>) -> Option<Value<'t>> {
        if is_query(group) {
            return Some(self.query(group));
        }
        let mut first = group;
        let item = first.until(|c| c.shape(0) == Some(Shape::Comma));
        if first.is_end() {
            return self.all_of(item);
        }
        self.list(group)
    }

    /// Whether any of a list looks at the row.
    pub(super) fn list(&mut self, mut list: Cursor<'t>) -> Option<Value<'t>> {
        let mut all = FIXED;
        while !list.is_end() {
            let mut item = list.until(|c| c.shape(0) == Some(Shape::Comma));
            list.advance(1);
            item.eat(k::DISTINCT);
            item.eat(k::VARIADIC);
            if item.is_operator(0, "*") || item.is_end() {
                continue;
            }
            // A named argument.
            if item.is_operator(1, "=>") || item.shape(1) == Some(Shape::Assign) {
                item.advance(2);
            }
            let value = self.all_of(item)?;
            all = all.with(&value);
        }
        Some(all)
    }

    /// What COALESCE comes to, if that is its first argument that is surely not NULL.
    pub(super) fn first_that_is(&mut self, mut list: Cursor<'t>) -> Option<Value<'t>> {
        while !list.is_end() {
            let item = list.until(|c| c.shape(0) == Some(Shape::Comma));
            list.advance(1);
            match self.all_of(item)? {
                Value::Truth(Truth::Null) => {}
                Value::Truth(Truth::Row | Truth::RowAtMost | Truth::RowAtLeast | Truth::Fixed) => return None,
                value => return Some(value),
            }
        }
        Some(Value::Truth(Truth::Null))
    }

    /// An expression that must take up all of this.
    pub(super) fn all_of(&mut self, part: Cursor<'t>) -> Option<Value<'t>> {
        let outer = self.rest;
        self.rest = part;
        let value = self.deeper(Self::or);
        let whole = self.rest.is_end();
        self.rest = outer;
        value.filter(|_| whole)
    }
}
