//! What is known of a body while it is read: where the reader stands, and the strings that may be SQL. Nothing else is kept, and of a
//! string that cannot be SQL not even its place is written down.

use std::borrow::Cow;
use std::mem::size_of;

use super::super::begins::{begins_as_sql, says_nothing};
use super::super::code::literals;
use super::super::fields::{CodeFields, Fields, Reading, Sieve, Under, Way};
use super::super::{SqlText, is_legible, legible};
use super::embedded::{self, is_json};
use super::pieces::{Bare, Piece, joined};
use super::{ambiguous, invalid};
use crate::identity::Action;
use crate::verdict::Failure;

/// How many strings that may be SQL one call may carry. What they cost beside the body itself is bounded by it.
const SQL_TEXTS: usize = 16_384;

/// How long they may be together, pieces and what they are joined to. Judging holds sixteen bytes for each token of the longest.
const SQL_BYTES: usize = 4 << 20;

/// JSON in a string in JSON, and so on. Each level doubles what a quote takes, so nothing that anybody means stands deeper; what does is
/// refused, for whoever reads it could find there what was not judged.
const EMBEDDED: usize = 8;

/// A longer pointer is cut: it is for people, and a body of nothing but names must not grow while it is read.
const POINTER_LIMIT: usize = 256;

/// Of an object with so few members, each name is compared with each; of others they are put in order first.
const FEW: usize = 8;

pub struct Walk<'de, 'f> {
    pub target: Option<String>,
    pub action: Option<Action>,
    pub payload_action: Option<Action>,
    pub sql: Vec<SqlText>,
    /// Why the walk ended early, if it was not the JSON.
    pub failure: Option<Failure>,
    /// Where in the body the payload is.
    pub payload: Place<'de>,
    fields: &'f Fields,
    sieve: Sieve,
    /// The names met in every object that is still open, the outermost first.
    names: Vec<Cow<'de, str>>,
    path: Vec<Step>,
    sql_bytes: usize,
    /// What code there is, if it is code: that is known with the target.
    code: Vec<(CodeFields, SqlText)>,
    /// What stands in the arrays of SQL that are still open, at any depth of them.
    pieces: Vec<Piece>,
    /// How many strings of JSON the reader is in.
    embedded: usize,
    /// What the whole of it stands under, as far as paths of policy go.
    within: Option<Way<'static>>,
}

/// Where a value is in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'de> {
    Nowhere,
    /// Behind this name, and before the next one, if there is one.
    Between(&'de str, Option<&'de str>),
    /// It is there, but no part of the body says where: names with escapes in them are no parts of it.
    Somewhere,
}

enum Step {
    /// The name at this place in `names`.
    Member(usize),
    Item(usize),
}

/// How far everything had come, to go back to.
pub struct Mark {
    names: usize,
    path: usize,
    sql: usize,
    sql_bytes: usize,
    code: usize,
    pieces: usize,
}

impl<'de, 'f> Walk<'de, 'f> {
    pub fn new(fields: &'f Fields) -> Self {
        Self {
            target: None,
            action: None,
            payload_action: None,
            sql: Vec::new(),
            failure: None,
            payload: Place::Nowhere,
            fields,
            sieve: fields.sieve(),
            // As many as most calls have, so that they do not grow in steps.
            names: Vec::with_capacity(24),
            path: Vec::with_capacity(16),
            sql_bytes: 0,
            code: Vec::new(),
            pieces: Vec::new(),
            embedded: 0,
            within: None,
        }
    }

    /// Of a body that is what the payload of an envelope would be.
    pub fn of_body(fields: &'f Fields) -> Self {
        Self { within: Some(Way::Member("payload")), ..Self::new(fields) }
    }

    /// As if nothing had been met yet.
    pub fn start_over(&mut self) {
        let fresh = Self { within: self.within, ..Self::new(self.fields) };
        *self = fresh;
    }

    /// Steps into a member, whose value stands under what is returned.
    #[inline(always)]
    pub fn enter_member(&mut self, name: Cow<'de, str>, outer: Under) -> Under {
        let settled = Fields::is_settled(self.sieve, outer, Way::Member(&name));
        self.path.push(Step::Member(self.names.len()));
        self.names.push(name);
        if settled { outer } else { self.under(outer) }
    }

    /// Its name is remembered until its object is closed.
    pub fn leave_member(&mut self) {
        self.path.pop();
    }

    /// Steps to the first item of an array; all of them stand under the same.
    pub fn enter_items(&mut self, outer: Under) -> Under {
        self.path.push(Step::Item(0));
        if Fields::is_settled(self.sieve, outer, Way::Item) { outer } else { self.under(outer) }
    }

    pub fn next_item(&mut self) {
        if let Some(Step::Item(index)) = self.path.last_mut() {
            *index += 1;
        }
    }

    pub fn mark(&self) -> Mark {
        Mark {
            names: self.names.len(),
            path: self.path.len(),
            sql: self.sql.len(),
            sql_bytes: self.sql_bytes,
            code: self.code.len(),
            pieces: self.pieces.len(),
        }
    }

    /// As if nothing had been read since.
    pub fn back_to(&mut self, mark: &Mark) {
        self.names.truncate(mark.names);
        self.path.truncate(mark.path);
        self.sql.truncate(mark.sql);
        self.sql_bytes = mark.sql_bytes;
        self.code.truncate(mark.code);
        self.pieces.truncate(mark.pieces);
    }

    #[inline(never)]
    fn under(&self, outer: Under) -> Under {
        self.fields.under(outer, || {
            let path = self.path.iter().rev().map(|step| match step {
                Step::Member(at) => Way::Member(self.names.get(*at).map_or("", |name| name)),
                Step::Item(_) => Way::Item,
            });
            path.chain(self.within)
        })
    }

    /// RFC 6901.
    pub fn pointer(&self) -> String {
        let mut out = String::with_capacity(48);
        for step in &self.path {
            if out.len() > POINTER_LIMIT {
                break;
            }
            out.push('/');
            match step {
                Step::Item(index) => {
                    push_number(&mut out, *index);
                }
                Step::Member(at) => {
                    let name = self.names.get(*at).map_or("", |name| name);
                    if name.len() <= POINTER_LIMIT && !name.bytes().any(|b| matches!(b, b'~' | b'/')) {
                        out.push_str(name);
                        continue;
                    }
                    for c in name.chars().take(POINTER_LIMIT) {
                        match c {
                            '~' => out.push_str("~0"),
                            '/' => out.push_str("~1"),
                            c => out.push(c),
                        }
                    }
                }
            }
        }
        if is_legible(&out, POINTER_LIMIT) { out } else { legible(&out, POINTER_LIMIT) }
    }

    /// A string, where the reader stands.
    pub fn string(&mut self, text: &str, under: Under) -> Result<(), Failure> {
        if under == Under::Nothing && says_nothing(text) {
            return Ok(());
        }
        // What is too deep is only looked at for whether it is JSON.
        if under == Under::Prose || self.embedded > EMBEDDED {
            return Ok(());
        }
        // A JSON string in a string may be a name in quotes as well: it is judged as both.
        if is_json(text) && self.read_embedded(text, under)? && !text.trim_ascii_start().starts_with('"') {
            return Ok(());
        }
        match under {
            Under::Sql if !text.trim().is_empty() => {
                self.pieces.push(Piece::Text(self.sql.len()));
                self.collect(text.to_owned(), Reading::Sql, false)
            }
            Under::Code(fields) if text.contains(['\'', '"', '`']) => {
                self.make_room(text.len())?;
                let code = SqlText { pointer: self.pointer(), text: text.to_owned(), reading: Reading::Text, joined: false };
                self.code.push((fields, code));
                Ok(())
            }
            Under::Nothing | Under::Code(_) if begins_as_sql(text) => self.collect(text.to_owned(), Reading::Text, false),
            Under::Nothing | Under::Code(_) | Under::Sql | Under::Prose => Ok(()),
        }
    }

    /// A number or a truth value, where the reader stands: behind a piece of SQL it is one, too.
    pub fn bare(&mut self, value: Bare, under: Under) -> Result<(), Failure> {
        if under != Under::Sql || self.pieces.is_empty() || !matches!(self.path.last(), Some(Step::Item(_))) {
            return Ok(());
        }
        self.sql_bytes += size_of::<Piece>();
        if self.sql_bytes > SQL_BYTES {
            return Err(too_long());
        }
        self.pieces.push(Piece::Bare(value));
        Ok(())
    }

    /// What is JSON as a whole is read as the body is. Whether it is.
    fn read_embedded(&mut self, text: &str, under: Under) -> Result<bool, Failure> {
        let mark = self.mark();
        let too_deep = self.embedded == EMBEDDED;
        self.embedded += 1;
        let is_json = embedded::read(self, text, under)?;
        self.embedded -= 1;
        if is_json {
            self.pieces.truncate(mark.pieces);
        } else {
            self.back_to(&mark);
        }
        // Without a quote it says nothing.
        if is_json && too_deep && text.contains('"') {
            return Err(invalid(&format!("JSON in strings of JSON more than {EMBEDDED} deep, at {}", self.pointer())));
        }
        Ok(is_json)
    }

    fn collect(&mut self, text: String, reading: Reading, joined: bool) -> Result<(), Failure> {
        self.make_room(text.len())?;
        let pointer = self.pointer();
        self.sql.push(SqlText { pointer, text, reading, joined });
        Ok(())
    }

    /// For one more string.
    fn make_room(&mut self, bytes: usize) -> Result<(), Failure> {
        if self.sql.len() + self.code.len() >= SQL_TEXTS {
            return Err(too_many());
        }
        self.sql_bytes += bytes;
        if self.sql_bytes > SQL_BYTES { Err(too_long()) } else { Ok(()) }
    }

    /// What is code, if it is code.
    #[cfg(test)]
    pub fn pending(&self) -> Vec<&SqlText> {
        self.code.iter().map(|(_, text)| text).collect()
    }

    /// Now that the target is known: what is code for it is judged literal by literal, and as what it is as a whole.
    pub fn read_code(&mut self, target: &str) -> Result<(), Failure> {
        for (fields, code) in std::mem::take(&mut self.code) {
            if self.fields.is_code(fields, target) {
                let room = SQL_TEXTS.saturating_sub(self.sql.len());
                for text in literals(&code.text, room).ok_or_else(too_many)? {
                    self.sql.push(SqlText { pointer: code.pointer.clone(), text, reading: Reading::Text, joined: false });
                }
            }
            if begins_as_sql(&code.text) {
                self.sql.push(code);
            }
        }
        Ok(())
    }

    /// Steps out of everything that was entered since the mark.
    pub fn leave(&mut self, mark: &Mark) {
        self.path.truncate(mark.path);
        self.close_any_object(mark);
    }

    /// Closes an array that was opened at the mark. Its items, and those of arrays in it, may be the pieces of one statement.
    pub fn close_array(&mut self, mark: &Mark) -> Result<(), Failure> {
        self.path.truncate(mark.path);
        let items = self.pieces.get(mark.pieces..).unwrap_or_default();
        if items.len() < 2 {
            return Ok(());
        }
        // Arrays in arrays are joined at every depth; what they come to is counted before it is made.
        for (text, reading) in joined(items, &self.sql, SQL_BYTES.saturating_sub(self.sql_bytes)).ok_or_else(too_long)? {
            self.collect(text, reading, true)?;
        }
        Ok(())
    }

    /// Closes an object that was opened at the mark, and in which no name may stand twice.
    #[inline(always)]
    pub fn close_object(&mut self, mark: &Mark) -> Result<(), Failure> {
        let names = self.names.get_mut(mark.names..).unwrap_or_default();
        let twice = match names {
            [] | [_] => None,
            [one, other] => is_same(one, other).then_some(1),
            names if names.len() <= FEW => twice_of_few(names),
            names => twice(names),
        };
        if let Some(at) = twice {
            return Err(self.repeated(mark.names + at));
        }
        self.close_any_object(mark);
        Ok(())
    }

    #[cold]
    fn repeated(&mut self, name: usize) -> Failure {
        self.path.push(Step::Member(name));
        ambiguous(format!("the member at {} stands there more than once", self.pointer()))
    }

    /// The same where names may stand twice: whoever reads it may take either value, so both are judged.
    pub fn close_any_object(&mut self, mark: &Mark) {
        self.names.truncate(mark.names);
        self.pieces.truncate(mark.pieces);
    }
}

/// What most names differ in is asked first.
#[inline]
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.as_bytes().first() == other.as_bytes().first() && one == other
}

/// A place of a name that stands there more than once.
fn twice_of_few(names: &[Cow<'_, str>]) -> Option<usize> {
    let is_met = |(at, name): &(usize, &Cow<'_, str>)| names.iter().take(*at).any(|before| is_same(before, name));
    names.iter().enumerate().find(is_met).map(|(at, _)| at)
}

#[inline(never)]
fn twice(names: &mut [Cow<'_, str>]) -> Option<usize> {
    names.sort_unstable();
    names.windows(2).position(|pair| matches!(pair, [a, b] if a == b))
}

/// In digits: what `write!` does for any format costs more than all else of a pointer.
fn push_number(out: &mut String, number: usize) {
    if number > 9 {
        push_number(out, number / 10);
    }
    out.push(u8::try_from(number % 10).map_or('?', |digit| char::from(b'0' + digit)));
}

fn too_many() -> Failure {
    invalid(&format!("more than {SQL_TEXTS} strings of SQL"))
}

fn too_long() -> Failure {
    invalid(&format!("more than {} MiB of SQL", SQL_BYTES >> 20))
}
