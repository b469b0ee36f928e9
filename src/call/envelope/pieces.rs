//! The items of an array that stands where SQL does: statements of their own, or the pieces of one. Who puts them together may do it with
//! a blank, a line break or nothing between them, and writes numbers and truth values as SQL does.

use std::borrow::Cow;
use std::fmt;

use super::super::SqlText;
use super::super::begins::begins_as_sql;
use super::super::fields::Reading;

#[derive(Clone, Copy, Debug)]
pub enum Piece {
    /// The string at this place among those that are judged.
    Text(usize),
    Bare(Bare),
}

/// What is no string, and no more than one word when it is written.
#[derive(Clone, Copy, Debug)]
pub enum Bare {
    Truth(bool),
    Integer(i64),
    Natural(u64),
    Float(f64),
}

impl Bare {
    /// Of JSON that may be none. `null` is nothing when it is put together with anything.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "true" | "True" => Some(Self::Truth(true)),
            "false" | "False" => Some(Self::Truth(false)),
            _ => {
                let float = || text.parse().ok().map(|number: f64| Self::Float(number.clamp(f64::MIN, f64::MAX)));
                text.parse().map(Self::Integer).ok().or_else(float)
            }
        }
    }
}

impl fmt::Display for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Natural(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

/// What pieces say together, and how each of that is read. Nothing, if one of them is longer than `most`.
///
/// A blank between them is how they are mostly put together; where an item has a comment, the next line is another reading of what
/// follows. With nothing between them, statements that were meant to be apart run into each other, which nobody may be refused for: such a
/// text counts only if it is SQL from end to end.
pub fn joined(pieces: &[Piece], sql: &[SqlText], most: usize) -> Option<Vec<(String, Reading)>> {
    if !pieces.iter().any(|piece| matches!(piece, Piece::Text(_))) {
        return Some(Vec::new());
    }
    let texts: Vec<Cow<'_, str>> = pieces.iter().map(|piece| said(piece, sql)).collect();
    if texts.iter().map(|text| text.len() + 1).sum::<usize>() > most {
        return None;
    }
    let mut all = vec![(texts.join(" "), Reading::Sql)];
    if texts.iter().any(|text| text.contains("--")) {
        all.push((texts.join("\n"), Reading::Sql));
    }
    if texts.windows(2).any(|pair| matches!(pair, [before, behind] if goes_on(before, behind))) {
        all.push((texts.concat(), Reading::Text));
    }
    Some(all)
}

fn said<'t>(piece: &Piece, sql: &'t [SqlText]) -> Cow<'t, str> {
    match piece {
        Piece::Text(at) => Cow::Borrowed(sql.get(*at).map_or("", |piece| &piece.text)),
        Piece::Bare(value) => Cow::Owned(value.to_string()),
    }
}

/// Whether a word or a sign may go on from one piece into the next. Statements one after the other do not.
fn goes_on(before: &str, behind: &str) -> bool {
    let parts = |c: char| c.is_whitespace() || matches!(c, ';' | ',' | '(' | ')');
    !before.ends_with(parts) && !behind.starts_with(parts) && !begins_as_sql(behind)
}
