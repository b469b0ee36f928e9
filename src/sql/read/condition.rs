//! Whether a condition looks at the row. A WHERE of constants is no WHERE: `1=1`, `NOT false`, `'a' IN ('a')`, `id = 7 OR true`. What is
//! worked out here is only as much of SQL's arithmetic as tells the few conditions that are surely false from those that may be true;
//! whatever looks at no row and is not known is [`Truth::Fixed`]: all rows, or none.

use std::borrow::Cow;

use super::Reader;
use crate::sql::act::Unreadable;
use crate::sql::decode;
use crate::sql::lexer::{Shape, Token};
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::{Class, Kw};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Null,
    /// Of constants alone, and not worked out.
    Fixed,
    /// It looks at the row, or at what only the caller knows: a parameter.
    Row,
    /// The row decides, if a constant that is not worked out does not say no beforehand.
    RowAtMost,
    /// The row decides, if a constant that is not worked out does not say yes beforehand.
    RowAtLeast,
}

impl Truth {
    pub fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::RowAtMost => Self::RowAtLeast,
            Self::RowAtLeast => Self::RowAtMost,
            other => other,
        }
    }

    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, truth) | (truth, Self::True) => truth,
            (Self::Null, Self::Null) => Self::Null,
            // Never true; but its opposite may be.
            (Self::Null, Self::Row) | (Self::Row, Self::Null) => Self::Row,
            (Self::Null, _) | (_, Self::Null) => Self::RowAtMost,
            (Self::Fixed | Self::RowAtLeast, Self::Fixed) | (Self::Fixed, Self::RowAtLeast) => Self::Fixed,
            (Self::RowAtLeast, Self::RowAtLeast) => Self::RowAtLeast,
            (Self::Row, Self::Row | Self::RowAtLeast) | (Self::RowAtLeast, Self::Row) => Self::Row,
            (Self::Row | Self::RowAtMost | Self::Fixed | Self::RowAtLeast, _) => Self::RowAtMost,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::Fixed, Self::Row) | (Self::Row, Self::Fixed) => Self::RowAtLeast,
            (Self::Fixed, _) | (_, Self::Fixed) => Self::Fixed,
            (Self::RowAtLeast, _) | (_, Self::RowAtLeast) => Self::RowAtLeast,
            (Self::RowAtMost, _) | (_, Self::RowAtMost) => Self::RowAtMost,
            (Self::Row, _) | (_, Self::Row) => Self::Row,
            (Self::Null, _) | (_, Self::Null) => Self::Null,
            (Self::False, Self::False) => Self::False,
        }
    }

    fn of(value: Option<bool>) -> Self {
        match value {
            Some(true) => Self::True,
            Some(false) => Self::False,
            None => Self::Fixed,
        }
    }
}

/// What an expression comes to, as far as that is told.
#[derive(Clone, Debug, PartialEq)]
enum Value<'t> {
    Truth(Truth),
    Number(i64),
    Text(Cow<'t, str>),
}

const ROW: Value<'static> = Value::Truth(Truth::Row);
const FIXED: Value<'static> = Value::Truth(Truth::Fixed);

impl Value<'_> {
    fn is_row(&self) -> bool {
        matches!(self, Self::Truth(Truth::Row | Truth::RowAtMost))
    }

    fn truth(&self) -> Truth {
        match self {
            Self::Truth(truth) => *truth,
            Self::Number(_) => Truth::Fixed,
            Self::Text(text) => Truth::of(said_to_be(text)),
        }
    }

    /// Of an operation that is not worked out.
    fn with(&self, other: &Self) -> Value<'static> {
        if self.is_row() || other.is_row() { ROW } else { FIXED }
    }
}

/// `17`, `1_000`, `0xff`.
fn whole_number(written: &str) -> Option<i64> {
    let digits = written.replace('_', "").to_ascii_lowercase();
    let radix = |prefix: &str, radix: u32| digits.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok());
    radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)).or_else(|| digits.parse().ok())
}

/// What `'…'::bool` is.
fn said_to_be(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Columns that every table has, and that are never NULL.
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// Functions that come to something else for every row, though they look at none.
const BY_CHANCE: [&str; 4] = ["random", "gen_random_uuid", "uuid_generate_v4", "random_normal"];

/// Parentheses and CASEs in each other.
const DEPTH: usize = 200;

pub(super) fn truth(reader: &mut Reader, condition: Cursor<'_>) -> Truth {
    if condition.is_end() {
        // A WHERE and nothing behind it: PostgreSQL does not run it.
        return Truth::Fixed;
    }
    let mut expression = Expression { rest: condition, reader, depth: 0, too_deep: false };
    let value = expression.or();
    if expression.too_deep {
        reader.unreadable(Unreadable::TooDeep, condition);
        return Truth::Fixed;
    }
    match value.filter(|_| expression.rest.is_end()) {
        Some(value) => value.truth(),
        None => roughly(reader, condition, 0),
    }
}

/// Of a condition that is written in a way that is not known here: whether any of what its ORs join looks at no row.
fn roughly(reader: &mut Reader, mut condition: Cursor<'_>, depth: usize) -> Truth {
    let mut all = Truth::False;
    while !condition.is_end() {
        let part = condition.until(|c| c.is(k::OR));
        condition.advance(1);
        if depth > DEPTH || !reader.may_look(part.here().len() * 2) {
            reader.unreadable(Unreadable::TooDeep, part);
            return Truth::Fixed;
        }
        let mut expression = Expression { rest: part, reader, depth: 0, too_deep: false };
        let value = expression.and();
        let truth = match value.filter(|_| expression.rest.is_end()) {
            Some(value) => value.truth(),
            // What stands in parentheses may be joined by ORs as well.
            None => match parenthesized(part) {
                Some(inside) => roughly(reader, inside, depth + 1),
                None if looks_at_something(part) && !joins_what_looks_at_nothing(reader, part, depth) => Truth::Row,
                None => Truth::Fixed,
            },
        };
        all = all.or(truth);
    }
    all
}

/// Whether an OR in any of its parentheses joins what looks at no row.
fn joins_what_looks_at_nothing(reader: &mut Reader, mut part: Cursor<'_>, depth: usize) -> bool {
    while !part.is_end() {
        match part.group() {
            Some(inside) if inside.here().iter().any(|token| token.kw == k::OR) => {
                if matches!(roughly(reader, inside, depth + 1), Truth::True | Truth::Fixed | Truth::RowAtLeast) {
                    return true;
                }
            }
            Some(_) => {}
            None => part.advance(1),
        }
    }
    false
}

/// What stands in the parentheses that are all there is.
fn parenthesized(mut part: Cursor<'_>) -> Option<Cursor<'_>> {
    part.group().filter(|_| part.is_end())
}

/// Whether any word in it may be a column, or anything a parameter.
fn looks_at_something(part: Cursor<'_>) -> bool {
    let tokens = part.here();
    tokens.iter().enumerate().any(|(index, token)| match token.shape {
        Shape::Quoted | Shape::UnicodeQuoted | Shape::Parameter | Shape::Stray | Shape::Colon => true,
        Shape::Operator => part.text_of(token).contains('?'),
        Shape::Word => {
            let next = tokens.get(index + 1).map(|next| next.shape);
            let before = index.checked_sub(1).and_then(|before| tokens.get(before));
            let is_type = before.is_some_and(|before| before.shape == Shape::Cast || before.kw == k::AS);
            matches!(token.kw.class(), Class::Plain | Class::Unreserved)
                && !matches!(next, Some(Shape::Open | Shape::Literal))
                && !is_type
                && token.kw != k::ESCAPE
        }
        _ => false,
    })
}

struct Comparing<'t> {
    sign: &'t str,
    is_spelled_out: bool,
}

fn is_comparison(operator: &str) -> bool {
    matches!(operator, "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=")
}

struct Expression<'t, 'r> {
    rest: Cursor<'t>,
    reader: &'r mut Reader,
    depth: usize,
    too_deep: bool,
}

impl<'t> Expression<'t, '_> {
    /// From here: the tokens that were read since.
    fn since(&self, from: usize) -> Cursor<'t> {
        Cursor { at: from, end: self.rest.at, ..self.rest }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= DEPTH || !self.reader.may_look(1) {
            self.too_deep = true;
            return None;
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn or(&mut self) -> Option<Value<'t>> {
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

    fn and(&mut self) -> Option<Value<'t>> {
        let mut value = self.negation()?;
        while self.rest.eat(k::AND) {
            let other = self.negation()?;
            value = Value::Truth(value.truth().and(other.truth()));
        }
        Some(value)
    }

    fn negation(&mut self) -> Option<Value<'t>> {
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
    fn test(&mut self) -> Option<Value<'t>> {
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

    fn is_null(&mut self, value: &Value<'t>, operand: Cursor<'t>) -> Truth {
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

    fn is(&mut self, value: &Value<'t>, operand: Cursor<'t>) -> Option<Truth> {
        let kw = self.rest.kw(0);
        self.rest.advance(1);
        let truth = value.truth();
        Some(match kw {
            k::NULL => self.is_null(value, operand),
            k::TRUE => match truth {
                Truth::Null => Truth::False,
                other => other,
            },
            k::FALSE => match truth {
                Truth::Null => Truth::False,
                other => other.not(),
            },
            k::UNKNOWN => match truth {
                Truth::Null => Truth::True,
                Truth::True | Truth::False => Truth::False,
                Truth::RowAtMost => Truth::Fixed,
                // Where a constant says yes it is known.
                Truth::RowAtLeast => Truth::RowAtMost,
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
                    equal(value, &other, operand, self.since(from)).not()
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

    fn comparison(&mut self) -> Option<Value<'t>> {
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
    fn comparing(&self) -> Option<Comparing<'t>> {
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
    fn matching(&mut self) -> Option<Value<'t>> {
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
                let low = self.sum()?;
                self.rest.eat(k::AND).then_some(())?;
                let high = self.sum()?;
                match (&value, &low, &high) {
                    (Value::Number(value), Value::Number(low), Value::Number(high)) => Truth::of(Some(low <= value && value <= high)),
                    _ => value.with(&low).with(&high).truth(),
                }
            }
            k::IN => {
                let group = self.rest.group()?;
                self.is_in(&value, operand, group)?
            }
            _ => {
                if kw == k::SIMILAR {
                    self.rest.eat(k::TO).then_some(())?;
                }
                let pattern = self.sum()?;
                if self.rest.eat(k::ESCAPE) {
                    self.sum()?;
                }
                match &pattern {
                    // What matches everything.
                    Value::Text(pattern) if !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'%') => Truth::True,
                    pattern => value.with(pattern).truth(),
                }
            }
        };
        Some(Value::Truth(if not { truth.not() } else { truth }))
    }

    fn is_in(&mut self, value: &Value<'t>, operand: Cursor<'t>, group: Cursor<'t>) -> Option<Truth> {
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

    /// Everything that binds closer than comparisons. Two operands and an operator between them are not worked out.
    fn sum(&mut self) -> Option<Value<'t>> {
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

    fn operand(&mut self) -> Option<Value<'t>> {
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
    fn suffixes(&mut self, mut value: Value<'t>) -> Option<Value<'t>> {
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

    fn atom(&mut self) -> Option<Value<'t>> {
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
            Shape::Quoted | Shape::UnicodeQuoted => self.named(),
            Shape::Word => self.word(token.kw),
            _ => None,
        }
    }

    fn word(&mut self, kw: Kw) -> Option<Value<'t>> {
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
                    _ if !group.here().iter().any(|token| matches!(token.kw, k::WHERE | k::LIMIT | k::HAVING | k::OFFSET)) => {
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
    fn typed(&mut self) -> Option<Value<'t>> {
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

    /// A column, or a function that is called.
    fn named(&mut self) -> Option<Value<'t>> {
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
            return Some(ROW);
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
    fn after_arguments(&mut self) -> bool {
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

    fn case(&mut self) -> Option<Value<'t>> {
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
    fn group(&mut self, group: Cursor<'t>) -> Option<Value<'t>> {
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
    fn list(&mut self, mut list: Cursor<'t>) -> Option<Value<'t>> {
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
    fn first_that_is(&mut self, mut list: Cursor<'t>) -> Option<Value<'t>> {
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
    fn all_of(&mut self, part: Cursor<'t>) -> Option<Value<'t>> {
        let outer = self.rest;
        self.rest = part;
        let value = self.deeper(Self::or);
        let whole = self.rest.is_end();
        self.rest = outer;
        value.filter(|_| whole)
    }

    /// A query that reads a table is another's row; one without FROM is what it selects.
    fn query(&mut self, group: Cursor<'t>) -> Value<'t> {
        if !self.reader.may_look(group.here().len()) {
            self.too_deep = true;
            return FIXED;
        }
        if group.here().iter().any(|token| matches!(token.kw, k::FROM | k::TABLE)) {
            return ROW;
        }
        let mut select = group;
        while select.eat_shape(Shape::Open) {}
        if select.eat(k::SELECT) {
            let mut item = select;
            item.end = group.end;
            if let Some(value) = self.all_of(item) {
                return if matches!(value, Value::Truth(_)) { value } else { FIXED };
            }
        }
        if looks_at_something(group) { ROW } else { FIXED }
    }
}

/// Of two constants.
fn reckon<'t>(operator: &str, a: &Value<'t>, b: &Value<'t>) -> Option<Value<'t>> {
    let null = Value::Truth(Truth::Null);
    match (a, b) {
        // Arithmetic with NULL is NULL, whatever stands on the other side.
        _ if matches!(operator, "+" | "-" | "*" | "/" | "%") && (*a == null || *b == null) => Some(null),
        (Value::Number(a), Value::Number(b)) => match operator {
            "+" => a.checked_add(*b),
            "-" => a.checked_sub(*b),
            "*" => a.checked_mul(*b),
            _ => None,
        }
        .map(Value::Number),
        (Value::Text(a), Value::Text(b)) if operator == "||" => Some(Value::Text(Cow::Owned(format!("{a}{b}")))),
        _ => None,
    }
}

fn is_query(mut group: Cursor<'_>) -> bool {
    loop {
        // VALUES can also be the name of a table.
        if matches!(group.kw(0), k::SELECT | k::WITH | k::TABLE) || group.is(k::VALUES) && group.shape(1) == Some(Shape::Open) {
            return true;
        }
        // In parentheses of its own, and maybe with another behind it.
        let Some(inside) = group.group() else { return false };
        let goes_on = matches!(group.kw(0), k::UNION | k::INTERSECT | k::EXCEPT | k::ORDER | k::LIMIT | k::OFFSET | k::FETCH | k::FOR);
        if !(group.is_end() || goes_on) {
            return false;
        }
        group = inside;
    }
}

fn is_all(value: &Value<'_>) -> bool {
    matches!(value.truth(), Truth::True | Truth::Fixed | Truth::RowAtLeast)
}

/// Whether it is TRUE or FALSE for every row: it asks `IS …`, or whether something exists.
fn is_never_null(mut operand: Cursor<'_>) -> bool {
    while let Some(inside) = parenthesized(operand) {
        operand = inside;
    }
    // Not one question, but more of them, or one within something else.
    let mut rest = operand;
    let mut asks_last = false;
    while rest.eat(k::NOT) {}
    if rest.is(k::EXISTS) && rest.shape(1) == Some(Shape::Open) {
        rest.advance(2);
        rest.at = rest.at.saturating_sub(1);
        return parenthesized(rest).is_some();
    }
    while !rest.is_end() {
        match rest.kw(0) {
            k::CASE | k::AND | k::OR => return false,
            k::ISNULL | k::NOTNULL => asks_last = true,
            k::IS => {
                let asked = if rest.kw(1) == k::NOT { rest.kw(2) } else { rest.kw(1) };
                if asked == k::DISTINCT {
                    return true;
                }
                asks_last = matches!(asked, k::NULL | k::TRUE | k::FALSE | k::UNKNOWN);
            }
            _ if rest.shape(0) == Some(Shape::Operator) => asks_last = false,
            _ => {}
        }
        rest.skip();
    }
    asks_last
}

fn compare(operator: &str, a: &Value<'_>, b: &Value<'_>, left: Cursor<'_>, right: Cursor<'_>) -> Truth {
    match operator {
        "=" => equal(a, b, left, right),
        "<>" | "!=" => equal(a, b, left, right).not(),
        _ if matches!(a, Value::Truth(Truth::Null)) || matches!(b, Value::Truth(Truth::Null)) => Truth::Null,
        _ => match (a, b) {
            (Value::Number(a), Value::Number(b)) => Truth::of(Some(match operator {
                "<" => a < b,
                ">" => a > b,
                "<=" => a <= b,
                _ => a >= b,
            })),
            _ if a.is_row() && b.is_row() && is_same(left, right) => Truth::of(Some(operator.contains('='))),
            _ => a.with(b).truth(),
        },
    }
}

fn equal(a: &Value<'_>, b: &Value<'_>, left: Cursor<'_>, right: Cursor<'_>) -> Truth {
    use Truth::{False, Null, True};
    match (a, b) {
        (Value::Truth(Null), _) | (_, Value::Truth(Null)) => Null,
        (Value::Number(a), Value::Number(b)) => Truth::of(Some(a == b)),
        (Value::Text(a), Value::Text(b)) => Truth::of(Some(a == b)),
        (Value::Number(number), Value::Text(text)) | (Value::Text(text), Value::Number(number)) => {
            Truth::of(text.trim().parse::<i64>().ok().map(|text| text == *number))
        }
        (Value::Truth(a @ (True | False)), Value::Truth(b @ (True | False))) => Truth::of(Some(a == b)),
        (Value::Truth(truth @ (True | False)), Value::Text(text)) | (Value::Text(text), Value::Truth(truth @ (True | False))) => {
            Truth::of(said_to_be(text).map(|said| said == (*truth == True)))
        }
        _ if a.is_row() && b.is_row() && is_same(left, right) => True,
        _ => a.with(b).truth(),
    }
}

/// The same column on both sides. What a function comes to may differ each time.
fn is_same(left: Cursor<'_>, right: Cursor<'_>) -> bool {
    let (a, b) = (left.here(), right.here());
    let plain = |token: &Token| !matches!(token.shape, Shape::Open | Shape::Parameter | Shape::Stray | Shape::Colon | Shape::Operator);
    a.len() == b.len()
        && a.len() < 16
        && a.iter().zip(b).all(|(a, b)| {
            plain(a) && plain(b) && {
                let (one, other) = (left.text_of(a), right.text_of(b));
                one == other || (a.shape == Shape::Word && b.shape == Shape::Word && one.eq_ignore_ascii_case(other))
            }
        })
}

/// `x IS NULL` and `x IS NOT NULL`, `x = 1` and `x <> 1`.
fn are_opposites(a: Cursor<'_>, b: Cursor<'_>) -> bool {
    if a.here().len() > 16 || b.here().len() > 16 {
        return false;
    }
    let split = |part: Cursor<'_>| {
        let mut rest = part;
        let left = rest.until(|c| c.is(k::IS) || matches!(c.word(0), "=" | "<>" | "!=" | "<" | ">" | "<=" | ">="));
        let is = rest.eat(k::IS);
        let not = is && rest.eat(k::NOT);
        let operator = if is { if not { "is not" } else { "is" } } else { rest.word(0) }.to_owned();
        if !is {
            rest.advance(1);
        }
        (left.at, left.end, operator, rest.at, rest.end)
    };
    let ((a_from, a_to, a_operator, a_rest, a_end), (b_from, b_to, b_operator, b_rest, b_end)) = (split(a), split(b));
    let opposite = matches!(
        (a_operator.as_str(), b_operator.as_str()),
        ("is", "is not")
            | ("is not", "is")
            | ("=", "<>" | "!=")
            | ("<>" | "!=", "=")
            | ("<", ">=")
            | (">=", "<")
            | (">", "<=")
            | ("<=", ">")
    );
    opposite
        && is_same(Cursor { at: a_from, end: a_to, ..a }, Cursor { at: b_from, end: b_to, ..b })
        && is_same(Cursor { at: a_rest, end: a_end, ..a }, Cursor { at: b_rest, end: b_end, ..b })
}

/// `double precision`, `numeric(4,2)[]`, `a.b`, `timestamp with time zone`, `interval day to second`.
fn skip_type(rest: &mut Cursor<'_>) -> Option<()> {
    rest.eat(k::SETOF);
    let first = rest.kw(0);
    matches!(rest.shape(0), Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)).then(|| rest.advance(1))?;
    while rest.shape(0) == Some(Shape::Dot) {
        rest.advance(2);
    }
    match first {
        k::DOUBLE => {
            rest.eat(k::PRECISION);
        }
        k::CHARACTER | k::CHAR | k::NATIONAL | k::BIT | k::NCHAR => {
            while matches!(rest.kw(0), k::VARYING | k::CHARACTER | k::CHAR) {
                rest.advance(1);
            }
        }
        k::INTERVAL => {
            while matches!(rest.kw(0), k::YEAR | k::MONTH | k::DAY | k::HOUR | k::MINUTE | k::SECOND | k::TO) {
                rest.advance(1);
            }
        }
        _ => {}
    }
    rest.group();
    if matches!(rest.kw(0), k::WITH | k::WITHOUT) && rest.kw(1) == k::TIME && rest.kw(2) == k::ZONE {
        rest.advance(3);
    }
    loop {
        match rest.shape(0) {
            Some(Shape::OpenBracket) => rest.skip(),
            Some(Shape::Word) if rest.is(k::ARRAY) => rest.advance(1),
            _ => return Some(()),
        }
    }
}

/// Casts that keep a value are followed; any other may round, cut or pad it.
fn cast<'t>(value: Value<'t>, kind: Cursor<'_>) -> Value<'t> {
    if value.is_row() || value == Value::Truth(Truth::Null) {
        return value;
    }
    let name = match kind.here() {
        [token] => kind.text_of(token).to_ascii_lowercase(),
        _ => return FIXED,
    };
    match (name.as_str(), value) {
        ("bool" | "boolean", Value::Text(text)) => Value::Truth(Truth::of(said_to_be(&text))),
        ("bool" | "boolean", Value::Number(number)) => Value::Truth(Truth::of(Some(number != 0))),
        ("bool" | "boolean", value @ Value::Truth(_)) => value,
        ("int" | "integer" | "int4" | "int8" | "bigint", value @ Value::Number(_)) => value,
        ("text", value @ Value::Text(_)) => value,
        _ => FIXED,
    }
}
