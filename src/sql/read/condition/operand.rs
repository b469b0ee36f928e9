//! What stands between comparisons: operators, signs, casts, literals, columns and the constants that have names.

use super::expression::{Expression, is_comparison};
use super::looks_at_something;
use super::query::is_query;
use super::truth::Truth;
use super::value::{FIXED, ROW, Value, cast, reckon, skip_type, whole_number};
use crate::sql::decode;
use crate::sql::lexer::{Shape, Token};
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::{Class, Kw};

impl<'t> Expression<'t, '_> {
    /// Everything that binds closer than comparisons. Two operands and an operator between them are not worked out.
    pub(super) fn sum(&mut self) -> Option<Value<'t>> {
        let mut value = self.operand()?;
        let mut first = true;
        loop {
            let Some(token) = self.rest.peek(0) else { return Some(value) };
            match token.shape {
                Shape::Operator if !is_comparison(self.rest.text_of(token)) => {
                    let operator = self.rest.text_of(token);
                    let matches_all = matches!(operator, "~" | "~*");
                    self.rest.advance(1);
                    let other = self.operand()?;
                    // Without regard to what binds closer: of more than two operands nothing is worked out.
                    let alone =
                        !self.rest.peek(0).is_some_and(|next| next.shape == Shape::Operator && !is_comparison(self.rest.text_of(next)));
                    let null = Value::Truth(Truth::Null);
                    if let Some(worked_out) = reckon(operator, &value, &other).filter(|worked_out| *worked_out == null || alone && first) {
                        value = worked_out;
                        first = false;
                        continue;
                    }
                    first = false;
                    value = match &other {
                        Value::Text(pattern)
                            if matches_all && matches!(pattern.as_ref(), "" | ".*" | "^" | "$" | "^.*$" | ".*$" | "^.*") =>
                        {
                            Value::Truth(Truth::True)
                        }
                        other => value.with(other),
                    };
                }
                Shape::Word if token.kw == k::OPERATOR && self.rest.shape(1) == Some(Shape::Open) && self.comparing().is_none() => {
                    self.rest.advance(1);
                    self.rest.group()?;
                    let other = self.operand()?;
                    value = value.with(&other);
                }
                Shape::Word if token.kw == k::AT => {
                    self.rest.advance(1);
                    if !self.rest.eat(k::LOCAL) {
                        self.rest.eat_all(&[k::TIME, k::ZONE]).then_some(())?;
                        let zone = self.operand()?;
                        value = value.with(&zone);
                    } else {
                        value = value.with(&FIXED);
                    }
                }
                Shape::Word if token.kw == k::OVERLAPS => {
                    self.rest.advance(1);
                    let other = self.operand()?;
                    value = value.with(&other);
                }
                _ => return Some(value),
            }
        }
    }

    pub(super) fn operand(&mut self) -> Option<Value<'t>> {
        // Signs and other prefix operators.
        let mut signs: Vec<&Token> = Vec::new();
        while let Some(token) = self.rest.peek(0).filter(|token| token.shape == Shape::Operator) {
            let is_operand = matches!(
                self.rest.shape(1),
                Some(
                    Shape::Literal | Shape::Escaped | Shape::Dollar | Shape::Unicode | Shape::Number | Shape::Quoted | Shape::UnicodeQuoted
                )
            ) || self.rest.shape(1) == Some(Shape::Word)
                && self.rest.kw(1).class() != Class::Reserved
                && !matches!(self.rest.kw(1), k::IS | k::LIKE | k::ILIKE | k::BETWEEN);
            if self.rest.text_of(token).contains('?') && signs.is_empty() && !is_operand {
                // A placeholder of a client library.
                self.rest.advance(1);
                return Some(ROW);
            }
            if signs.len() > 8 {
                return None;
            }
            signs.push(token);
            self.rest.advance(1);
        }
        let mut value = self.deeper(Self::atom)?;
        value = self.suffixes(value)?;
        for sign in signs.iter().rev() {
            value = match (self.rest.text_of(sign), value) {
                ("-", Value::Number(number)) => number.checked_neg().map_or(FIXED, Value::Number),
                ("+", value @ Value::Number(_)) => value,
                (_, value) => value.with(&FIXED),
            };
        }
        Some(value)
    }

    /// Casts, subscripts, fields and COLLATE.
    pub(super) fn suffixes(&mut self, mut value: Value<'t>) -> Option<Value<'t>> {
        loop {
            match self.rest.shape(0) {
                Some(Shape::Cast) => {
                    self.rest.advance(1);
                    let from = self.rest.at;
                    skip_type(&mut self.rest)?;
                    value = cast(value, self.since(from));
                }
                Some(Shape::OpenBracket) => {
                    let mut inside = self.rest;
                    self.rest.skip();
                    inside.advance(1);
                    inside.end = self.rest.at.saturating_sub(1).max(inside.at);
                    if !value.is_row() {
                        value = if looks_at_something(inside) { ROW } else { FIXED };
                    }
                }
                Some(Shape::Dot) => {
                    self.rest.advance(2);
                    value = value.with(&FIXED);
                }
                Some(Shape::Word) if self.rest.is(k::COLLATE) => {
                    self.rest.advance(1);
                    self.rest.name()?;
                    value = value.with(&FIXED);
                }
                _ => return Some(value),
            }
        }
    }

    pub(super) fn atom(&mut self) -> Option<Value<'t>> {
        let token = self.rest.peek(0)?;
        match token.shape {
            Shape::Number => {
                self.rest.advance(1);
                Some(whole_number(self.rest.text_of(token)).map_or(FIXED, Value::Number))
            }
            Shape::Literal | Shape::Dollar | Shape::Escaped | Shape::Unicode => {
                self.rest.advance(1);
                Some(Value::Text(decode::literal(token.shape, self.rest.text_of(token))))
            }
            Shape::Bits => {
                self.rest.advance(1);
                Some(FIXED)
            }
            Shape::Parameter => {
                self.rest.advance(1);
                Some(ROW)
            }
            Shape::Open => {
                let group = self.rest.group()?;
                self.group(group)
            }
            Shape::Colon if self.rest.shape(1) == Some(Shape::Word) => {
                self.rest.advance(2);
                Some(ROW)
            }
            // A type of one's own, with a literal of it.
            Shape::Quoted | Shape::UnicodeQuoted => self.typed().or_else(|| self.named()),
            Shape::Word => self.word(token.kw),
            _ => None,
        }
    }

    pub(super) fn word(&mut self, kw: Kw) -> Option<Value<'t>> {
        let constant = match kw {
            k::TRUE => Some(Truth::True),
            k::FALSE => Some(Truth::False),
            k::NULL => Some(Truth::Null),
            k::CURRENT_DATE
            | k::CURRENT_TIME
            | k::LOCALTIME
            | k::LOCALTIMESTAMP
            | k::CURRENT_USER
            | k::CURRENT_ROLE
            | k::SESSION_USER
            | k::USER
            | k::CURRENT_CATALOG
            | k::CURRENT_SCHEMA
            | k::SYSTEM_USER => Some(Truth::Fixed),
            _ if self.rest.word(0).eq_ignore_ascii_case("current_timestamp") => Some(Truth::Fixed),
            _ => None,
        };
        if let Some(truth) = constant {
            self.rest.advance(1);
            self.rest.group();
            return Some(Value::Truth(truth));
        }
        match kw {
            k::EXISTS if self.rest.shape(1) == Some(Shape::Open) => {
                self.rest.advance(1);
                let group = self.rest.group()?;
                Some(match self.query(group) {
                    ROW => ROW,
                    // A query of nothing but constants has a row.
                    _ if !group
                        .here()
                        .iter()
                        .any(|token| matches!(token.kw, k::FROM | k::TABLE | k::WHERE | k::LIMIT | k::HAVING | k::OFFSET)) =>
                    {
                        Value::Truth(Truth::True)
                    }
                    _ => FIXED,
                })
            }
            k::CASE => self.case(),
            k::CAST if self.rest.shape(1) == Some(Shape::Open) => {
                self.rest.advance(1);
                let mut group = self.rest.group()?;
                let written = group.until(|c| c.is(k::AS));
                group.advance(1);
                let value = self.all_of(written)?;
                Some(cast(value, group))
            }
            k::ARRAY => {
                self.rest.advance(1);
                let mut inside = self.rest;
                self.rest.skip();
                inside.advance(1);
                inside.end = self.rest.at.saturating_sub(1).max(inside.at);
                Some(if is_query(inside) {
                    self.query(inside)
                } else if looks_at_something(inside) {
                    ROW
                } else {
                    FIXED
                })
            }
            k::ROW if self.rest.shape(1) == Some(Shape::Open) => {
                self.rest.advance(1);
                let group = self.rest.group()?;
                Some(self.list(group)?.with(&FIXED))
            }
            k::SELECT | k::WHERE | k::AND | k::OR => None,
            _ => self.typed().or_else(|| self.named()),
        }
    }

    /// `date '2020-01-01'`, `interval '1' day`, `double precision '1'`.
    pub(super) fn typed(&mut self) -> Option<Value<'t>> {
        let mut rest = self.rest;
        let from = rest.at;
        skip_type(&mut rest)?;
        let kind = Cursor { at: from, end: rest.at, ..rest };
        let token = rest.peek(0).filter(|token| matches!(token.shape, Shape::Literal | Shape::Escaped | Shape::Dollar | Shape::Unicode))?;
        rest.advance(1);
        while matches!(rest.kw(0), k::YEAR | k::MONTH | k::DAY | k::HOUR | k::MINUTE | k::SECOND | k::TO) {
            rest.advance(1);
            rest.group();
        }
        self.rest = rest;
        Some(cast(Value::Text(decode::literal(token.shape, rest.text_of(token))), kind))
    }
}
