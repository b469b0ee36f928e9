//! Constants, as far as they are worked out: numbers, texts, and what is true or false.

use std::borrow::Cow;

use super::alike::is_same;
use super::truth::Truth;
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};

/// What an expression comes to, as far as that is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'t> {
    Truth(Truth),
    Number(i64),
    Text(Cow<'t, str>),
}

pub(super) const ROW: Value<'static> = Value::Truth(Truth::Row);
pub(super) const FIXED: Value<'static> = Value::Truth(Truth::Fixed);

impl Value<'_> {
    pub(super) fn is_row(&self) -> bool {
        matches!(self, Self::Truth(Truth::Row | Truth::RowAtMost))
    }

    pub(super) fn truth(&self) -> Truth {
        match self {
            Self::Truth(truth) => *truth,
            Self::Number(_) => Truth::Fixed,
            Self::Text(text) => Truth::of(said_to_be(text)),
        }
    }

    /// Of an operation that is not worked out.
    pub(super) fn with(&self, other: &Self) -> Value<'static> {
        if self.is_row() || other.is_row() { ROW } else { FIXED }
    }
}

/// `17`, `1_000`, `0xff`.
pub(super) fn whole_number(written: &str) -> Option<i64> {
    let digits = written.replace('_', "").to_ascii_lowercase();
    let radix = |prefix: &str, radix: u32| digits.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok());
    radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)).or_else(|| digits.parse().ok())
}

/// What `'…'::bool` is.
pub(super) fn said_to_be(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Of two constants.
pub(super) fn reckon<'t>(operator: &str, a: &Value<'t>, b: &Value<'t>) -> Option<Value<'t>> {
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

pub(super) fn is_all(value: &Value<'_>) -> bool {
    matches!(value.truth(), Truth::True | Truth::Fixed | Truth::RowAtLeast)
}

pub(super) fn compare(operator: &str, a: &Value<'_>, b: &Value<'_>, left: Cursor<'_>, right: Cursor<'_>) -> Truth {
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

pub(super) fn equal(a: &Value<'_>, b: &Value<'_>, left: Cursor<'_>, right: Cursor<'_>) -> Truth {
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
        (Value::Truth(truth), Value::Truth(True)) | (Value::Truth(True), Value::Truth(truth)) => *truth,
        (Value::Truth(truth), Value::Truth(False)) | (Value::Truth(False), Value::Truth(truth)) => truth.not(),
        _ if a.is_row() && b.is_row() && is_same(left, right) => True,
        _ => a.with(b).truth(),
    }
}

/// `double precision`, `numeric(4,2)[]`, `a.b`, `timestamp with time zone`, `interval day to second`.
pub(super) fn skip_type(rest: &mut Cursor<'_>) -> Option<()> {
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
pub(super) fn cast<'t>(value: Value<'t>, kind: Cursor<'_>) -> Value<'t> {
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
