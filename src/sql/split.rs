//! Where one statement ends and the next begins.

use super::lexer::Shape;
use super::tokens::{Cursor, k};

/// The statements of a text, one after the other.
///
/// A semicolon in parentheses is none of SQL, but for the actions of a rule; whoever splits by semicolons alone would run what stands
/// between, so it counts. So does one in the body of a function only if the body does not end.
pub struct Statements<'t> {
    rest: Cursor<'t>,
    /// No body that begins behind this place ends.
    no_end_from: usize,
}

impl<'t> Statements<'t> {
    pub fn of(text: Cursor<'t>) -> Self {
        Self { rest: text, no_end_from: usize::MAX }
    }

    /// Whether the statement that came last is the last of the text.
    pub fn is_end(&self) -> bool {
        self.rest.is_end()
    }

    /// Behind the END of the body that begins here.
    fn body_end(&mut self, body: Cursor<'_>) -> Option<usize> {
        if body.at >= self.no_end_from {
            return None;
        }
        let end = body_end(body);
        if end.is_none() {
            self.no_end_from = body.at;
        }
        end
    }
}

impl<'t> Iterator for Statements<'t> {
    type Item = Cursor<'t>;

    /// The tokens up to the semicolon that ends a statement; maybe none.
    fn next(&mut self) -> Option<Cursor<'t>> {
        let start = self.rest;
        let mut cursor = start;
        if cursor.is_end() {
            return None;
        }
        let carries = carries(start);
        // In parentheses no body begins: a parameter can be called so.
        let mut inside_until = 0;
        while !cursor.is_end() {
            match cursor.shape(0) {
                Some(Shape::Semicolon) => break,
                Some(Shape::Open) if carries == Carries::Actions => cursor.skip(),
                Some(Shape::Open) => {
                    inside_until = inside_until.max(cursor.group_end());
                    cursor.advance(1);
                }
                Some(Shape::Word)
                    if carries == Carries::Body && cursor.at >= inside_until && cursor.is(k::BEGIN) && cursor.kw(1) == k::ATOMIC =>
                {
                    cursor.advance(2);
                    cursor.at = self.body_end(cursor).unwrap_or(cursor.at);
                }
                _ => cursor.advance(1),
            }
        }
        let statement = Cursor { end: cursor.at, ..start };
        cursor.advance(1);
        self.rest = cursor;
        Some(statement)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    Nothing,
    /// CREATE RULE … DO (a; b)
    Actions,
    /// CREATE FUNCTION … BEGIN ATOMIC a; b; END
    Body,
}

fn carries(mut cursor: Cursor<'_>) -> Carries {
    if !cursor.eat(k::CREATE) {
        return Carries::Nothing;
    }
    cursor.eat_all(&[k::OR, k::REPLACE]);
    match cursor.kw(0) {
        k::RULE => Carries::Actions,
        k::FUNCTION | k::PROCEDURE => Carries::Body,
        _ => Carries::Nothing,
    }
}

/// Behind the END of a body, which follows a semicolon, or nothing: another END is of a CASE, or what a column is called.
fn body_end(mut cursor: Cursor<'_>) -> Option<usize> {
    let mut may_end = true;
    while !cursor.is_end() {
        if may_end && cursor.is(k::END) {
            return Some(cursor.at + 1);
        }
        may_end = cursor.shape(0) == Some(Shape::Semicolon);
        cursor.advance(1);
    }
    None
}
