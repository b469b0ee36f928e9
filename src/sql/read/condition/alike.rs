//! What is told of conditions by how they are written: the same column twice, a question and its opposite, a question that is never NULL.

use super::parenthesized;
use super::within::BY_CHANCE;
use crate::sql::lexer::{Shape, Token};
use crate::sql::tokens::{Cursor, k};

/// The same on both sides: a column, or what is reckoned of columns. What a function by chance comes to differs each time.
pub(super) fn is_same(left: Cursor<'_>, right: Cursor<'_>) -> bool {
    let (left, right) = (without_parentheses(left), without_parentheses(right));
    let (a, b) = (left.here(), right.here());
    let plain = |cursor: Cursor<'_>, token: &Token| match token.shape {
        Shape::Parameter | Shape::Stray | Shape::Colon => false,
        Shape::Operator => !cursor.text_of(token).contains('?'),
        Shape::Word => !BY_CHANCE.iter().any(|chance| cursor.text_of(token).eq_ignore_ascii_case(chance)) && token.kw != k::SELECT,
        _ => true,
    };
    a.len() == b.len()
        && a.len() < 16
        && a.iter().zip(b).all(|(a, b)| {
            plain(left, a) && plain(right, b) && {
                let (one, other) = (left.text_of(a), right.text_of(b));
                one == other || (a.shape == Shape::Word && b.shape == Shape::Word && one.eq_ignore_ascii_case(other))
            }
        })
}

fn without_parentheses(mut part: Cursor<'_>) -> Cursor<'_> {
    while let Some(inside) = parenthesized(part) {
        part = inside;
    }
    part
}

/// `x IS NULL` and `x IS NOT NULL`, `x = 1` and `x <> 1`.
pub(super) fn are_opposites(a: Cursor<'_>, b: Cursor<'_>) -> bool {
    if a.here().len() > 16 || b.here().len() > 16 {
        return false;
    }
    let (a, b) = (without_parentheses(a), without_parentheses(b));
    // `x` and `NOT x`.
    for (one, mut other) in [(a, b), (b, a)] {
        if other.eat(k::NOT) && is_same(one, other) {
            return true;
        }
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

/// Whether it is TRUE or FALSE for every row: it asks `IS …`, or whether something exists.
pub(super) fn is_never_null(mut operand: Cursor<'_>) -> bool {
    operand = without_parentheses(operand);
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
