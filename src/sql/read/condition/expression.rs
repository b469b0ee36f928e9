//! Conditions, from what binds least to what binds most: OR, AND, NOT, IS, comparisons, and BETWEEN, IN and LIKE.

use super::DEPTH;
use super::alike::{are_opposites, is_never_null};
use super::query::is_query;
use super::truth::Truth;
use super::value::{FIXED, ROW, Value, compare, equal};
use crate::sql::lexer::Shape;
use crate::sql::read::Reader;
use crate::sql::tokens::{Cursor, k};

/// Columns that every table has, and that are never NULL.
pub(super) const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

pub(super) struct Comparing<'t> {
    pub(super) sign: &'t str,
    pub(super) is_spelled_out: bool,
}

pub(super) fn is_comparison(operator: &str) -> bool {
    matches!(operator, "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=")
}

pub(super) struct Expression<'t, 'r> {
    pub(super) rest: Cursor<'t>,
    pub(super) reader: &'r mut Reader,
    pub(super) depth: usize,
    pub(super) too_deep: bool,
}

impl<'t> Expression<'t, '_> {
    /// From here: the tokens that were read since.
    pub(super) fn since(&self, from: usize) -> Cursor<'t> {
        Cursor { at: from, end: self.rest.at, ..self.rest }
    }

    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= DEPTH || !self.reader.may_look(1) {
            self.too_deep = true;
            return None;
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    pub(super) fn or(&mut self) -> Option<Value<'t>> {
        let from = self.rest.at;
        let mut value = self.and()?;
        let mut parts: Vec<Cursor<'t>> = vec![self.since(from)];
        while self.rest.eat(k::OR) {
            let from = self.rest.at;
            let other = self.and()?;
            let part = self.since(from);
            let mut truth = value.truth().or(other.truth());
            // One of a condition and its opposite is always true, but for NULL.
            if truth == Truth::Row && parts.len() < 16 && parts.iter().any(|before| are_opposites(*before, part)) {
                truth = Truth::True;
            }
            parts.push(part);
            value = Value::Truth(truth);
        }
        Some(value)
    }

    pub(super) fn and(&mut self) -> Option<Value<'t>> {
        let mut value = self.negation()?;
        while self.rest.eat(k::AND) {
            let other = self.negation()?;
            value = Value::Truth(value.truth().and(other.truth()));
        }
        Some(value)
    }

    pub(super) fn negation(&mut self) -> Option<Value<'t>> {
        let mut nots = 0_usize;
        while self.rest.eat(k::NOT) {
            nots += 1;
        }
        let value = self.test()?;
        if nots == 0 {
            return Some(value);
        }
        let truth = value.truth();
        Some(Value::Truth(if nots % 2 == 1 { truth.not() } else { truth }))
    }

    /// `x IS NULL`, `x ISNULL`, over comparisons.
    pub(super) fn test(&mut self) -> Option<Value<'t>> {
        let from = self.rest.at;
        let mut value = self.comparison()?;
        loop {
            let operand = self.since(from);
            if self.rest.eat(k::ISNULL) {
                value = Value::Truth(self.is_null(&value, operand));
            } else if self.rest.eat(k::NOTNULL) {
                value = Value::Truth(self.is_null(&value, operand).not());
            } else if self.rest.eat(k::IS) {
                let not = self.rest.eat(k::NOT);
                let truth = self.is(&value, operand)?;
                value = Value::Truth(if not { truth.not() } else { truth });
                // What is compared, or reckoned with, can be a test itself.
                while self.rest.shape(0) == Some(Shape::Operator) {
                    self.rest.advance(1);
                    let other = self.comparison()?;
                    value = value.with(&other);
                }
            } else {
                return Some(value);
            }
        }
    }

    pub(super) fn is_null(&mut self, value: &Value<'t>, operand: Cursor<'t>) -> Truth {
        match value {
            Value::Truth(Truth::Null) => Truth::True,
            Value::Truth(Truth::True | Truth::False) | Value::Number(_) | Value::Text(_) => Truth::False,
            Value::Truth(Truth::Fixed | Truth::RowAtMost | Truth::RowAtLeast) => Truth::Fixed,
            Value::Truth(Truth::Row) => {
                let column = operand.here().last().map_or("", |token| operand.text_of(token));
                let is_system = operand.here().len() <= 3 && SYSTEM_COLUMNS.iter().any(|name| column.eq_ignore_ascii_case(name));
                let never = is_system || self.reader.may_look(operand.here().len()) && is_never_null(operand);
                if never { Truth::False } else { Truth::Row }
            }
        }
    }

    pub(super) fn is(&mut self, value: &Value<'t>, operand: Cursor<'t>) -> Option<Truth> {
        let kw = self.rest.kw(0);
        self.rest.advance(1);
        let truth = value.truth();
        Some(match kw {
            k::NULL => self.is_null(value, operand),
            // Of what a constant may decide, it is not known whether that constant is NULL.
            k::TRUE => match truth {
                Truth::Null => Truth::False,
                Truth::RowAtLeast => Truth::Fixed,
                other => other,
            },
            k::FALSE => match truth {
                Truth::Null => Truth::False,
                Truth::RowAtMost => Truth::Fixed,
                other => other.not(),
            },
            k::UNKNOWN => match truth {
                Truth::Null => Truth::True,
                Truth::True | Truth::False => Truth::False,
                Truth::RowAtMost | Truth::RowAtLeast => Truth::Fixed,
                other => other,
            },
            k::DISTINCT => {
                self.rest.eat(k::FROM).then_some(())?;
                let from = self.rest.at;
                let other = self.comparison()?;
                let null = Value::Truth(Truth::Null);
                if *value == null {
                    self.is_null(&other, self.since(from)).not()
                } else if other == null {
                    self.is_null(value, operand).not()
                } else {
                    match equal(value, &other, operand, self.since(from)).not() {
                        Truth::RowAtMost | Truth::RowAtLeast => Truth::Fixed,
                        other => other,
                    }
                }
            }
            // IS JSON, IS NORMALIZED, IS DOCUMENT.
            _ => {
                while matches!(self.rest.kw(0), k::JSON | k::NORMALIZED | k::OBJECT | k::SCALAR | k::ARRAY | k::VALUE) {
                    self.rest.advance(1);
                }
                value.with(&FIXED).truth()
            }
        })
    }

    pub(super) fn comparison(&mut self) -> Option<Value<'t>> {
        let from = self.rest.at;
        let mut value = self.matching()?;
        while let Some(operator) = self.comparing() {
            let left = self.since(from);
            self.rest.skip();
            // OPERATOR and its parentheses.
            if operator.is_spelled_out {
                self.rest.skip();
            }
            let operator = operator.sign;
            // `= ANY (…)`: compared with all of them.
            if matches!(self.rest.kw(0), k::ANY | k::SOME | k::ALL) && self.rest.shape(1) == Some(Shape::Open) {
                self.rest.advance(1);
                let group = self.rest.group()?;
                value = if value.is_row() || self.group(group)?.is_row() { ROW } else { FIXED };
                continue;
            }
            let from = self.rest.at;
            let other = self.matching()?;
            value = Value::Truth(compare(operator, &value, &other, left, self.since(from)));
        }
        Some(value)
    }

    /// `=` and its kin, also as `OPERATOR(pg_catalog.=)`.
    pub(super) fn comparing(&self) -> Option<Comparing<'t>> {
        let is_spelled_out = self.rest.is(k::OPERATOR);
        let mut rest = self.rest;
        if is_spelled_out {
            rest.advance(1);
            rest = rest.group()?;
            rest.until(|c| c.shape(0) == Some(Shape::Operator));
        }
        let sign = rest.peek(0).filter(|token| token.shape == Shape::Operator).map(|token| rest.text_of(token))?;
        is_comparison(sign).then_some(Comparing { sign, is_spelled_out })
    }

    /// BETWEEN, IN, LIKE and their kin.
    pub(super) fn matching(&mut self) -> Option<Value<'t>> {
        let from = self.rest.at;
        let value = self.sum()?;
        let operand = self.since(from);
        let mut ahead = self.rest;
        let not = ahead.eat(k::NOT);
        let kw = ahead.kw(0);
        if !matches!(kw, k::BETWEEN | k::IN | k::LIKE | k::ILIKE | k::SIMILAR) {
            return Some(value);
        }
        ahead.advance(1);
        self.rest = ahead;
        let truth = match kw {
            k::BETWEEN => {
                if matches!(self.rest.kw(0), k::SYMMETRIC | k::ASYMMETRIC) {
                    self.rest.advance(1);
                }
                let from = self.rest.at;
                let low = self.sum()?;
                let least = compare(">=", &value, &low, operand, self.since(from));
                self.rest.eat(k::AND).then_some(())?;
                let from = self.rest.at;
                let high = self.sum()?;
                least.and(compare("<=", &value, &high, operand, self.since(from)))
            }
            k::IN => {
                let group = self.rest.group()?;
                self.is_in(&value, operand, group)?
            }
            _ => {
                if kw == k::SIMILAR {
                    self.rest.eat(k::TO).then_some(())?;
                }
                // `LIKE ANY (…)`: one pattern of many.
                if matches!(self.rest.kw(0), k::ANY | k::SOME | k::ALL) && self.rest.shape(1) == Some(Shape::Open) {
                    self.rest.advance(1);
                    let group = self.rest.group()?;
                    let patterns = self.group(group)?;
                    return Some(value.with(&patterns));
                }
                let pattern = self.sum()?;
                let escapes = self.rest.eat(k::ESCAPE);
                if escapes {
                    self.sum()?;
                }
                match &pattern {
                    Value::Text(pattern) if !pattern.contains(['%', '_', '\\']) && kw == k::LIKE && !escapes => {
                        equal(&value, &Value::Text(pattern.clone()), operand, operand)
                    }
                    // What matches everything.
                    Value::Text(pattern) if !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'%') => Truth::True,
                    pattern => value.with(pattern).truth(),
                }
            }
        };
        Some(Value::Truth(if not { truth.not() } else { truth }))
    }

    pub(super) fn is_in(&mut self, value: &Value<'t>, operand: Cursor<'t>, group: Cursor<'t>) -> Option<Truth> {
        if is_query(group) {
            let set = self.query(group);
            return Some(value.with(&set).truth());
        }
        let mut truth = Truth::False;
        let mut list = group;
        while !list.is_end() {
            let item = list.until(|c| c.shape(0) == Some(Shape::Comma));
            list.advance(1);
            let other = self.all_of(item)?;
            truth = truth.or(equal(value, &other, operand, item));
        }
        Some(truth)
    }
}
