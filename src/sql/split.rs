//! Where one statement ends and the next begins.

use super::lexer::Shape;
use super::tokens::{Cursor, k};

/// The tokens up to the semicolon that ends the statement here; the cursor moves behind it.
///
/// A semicolon in parentheses is none of SQL, but for the actions of a rule; whoever splits by semicolons alone would run what stands
/// between, so it counts. So does one in the body of a function only if the body does not end.
pub fn next_statement<'t>(cursor: &mut Cursor<'t>) -> Cursor<'t> {
    let start = *cursor;
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
                cursor.at = body_end(*cursor).unwrap_or(cursor.at);
            }
            _ => cursor.advance(1),
        }
    }
    let statement = Cursor { end: cursor.at, ..start };
    cursor.advance(1);
    statement
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
