//! What is known of a body while it is read: where the reader stands, and the strings that may be SQL. Nothing else is kept, and of a
//! string that cannot be SQL not even its place is written down.

use std::mem::size_of;

use super::super::SqlText;
use super::super::begins::{begins_as_sql, says_nothing};
use super::super::code::literals;
use super::super::fields::{CodeFields, Fields, Reading, Sieve, Under, Way, glance};
use super::embedded::{self, is_json};
use super::pieces::{Bare, Piece, joined};
use super::text::part;
use super::whereabouts::{self, Name, Open, Twice, Whereabouts};
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

pub struct Walk<'de, 'f> {
    pub target: Option<String>,
    pub action: Option<Action>,
    pub payload_action: Option<Action>,
    pub sql: Vec<SqlText>,
    /// Why the walk ended early, if it was not the JSON.
    pub failure: Option<Box<Failure>>,
    /// Where in the body the payload is.
    pub payload: Place<'de>,
    fields: &'f Fields,
    sieve: Sieve,
    at: Whereabouts<'de>,
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
    Between(&'de [u8], Option<&'de [u8]>),
    /// It is there, but no part of the body says where: names with escapes in them are no parts of it.
    Somewhere,
}

/// How far everything had come, to go back to.
pub struct Mark {
    at: whereabouts::Mark,
    sql: usize,
    sql_bytes: usize,
    code: usize,
    pieces: usize,
}

impl<'de, 'f> Walk<'de, 'f> {
    /// `text`: what is read, and where names may be told by their places.
    pub fn new(text: &'de [u8], fields: &'f Fields) -> Self {
        Self {
            target: None,
            action: None,
            payload_action: None,
            sql: Vec::new(),
            failure: None,
            payload: Place::Nowhere,
            fields,
            sieve: fields.sieve(),
            at: Whereabouts::of(text),
            sql_bytes: 0,
            code: Vec::new(),
            pieces: Vec::new(),
            embedded: 0,
            within: None,
        }
    }

    /// Of a body that is what the payload of an envelope would be.
    pub fn of_body(text: &'de [u8], fields: &'f Fields) -> Self {
        Self { within: Some(Way::Member(b"payload")), ..Self::new(text, fields) }
    }

    /// As if nothing had been met yet.
    pub fn start_over(&mut self) {
        let fresh = Self { within: self.within, ..Self::new(self.at.body(), self.fields) };
        *self = fresh;
    }

    pub fn open_object(&mut self) {
        self.at.open_object(self.pieces.len());
    }

    /// Steps into a member of the object that is open, whose value stands under what is returned.
    pub fn enter_member(&mut self, name: &[u8], outer: Under) -> Under {
        let kept = self.at.keep(name);
        self.enter_written(kept, name, outer, name.is_ascii())
    }

    /// The same where the name stands in the body as it is.
    pub fn enter_written(&mut self, place: Name, name: &[u8], outer: Under, is_ascii: bool) -> Under {
        self.at.enter(place);
        if Fields::is_settled(self.sieve, outer, name, is_ascii) { outer } else { self.under(outer) }
    }

    /// What tells a name in ASCII from most others, if it is one that nobody knows.
    #[inline(always)]
    pub fn glance(&self, name: &[u8]) -> Option<u64> {
        let glance = glance(name);
        (!self.sieve.may_hold(glance) && name.first() != Some(&b'$')).then_some(glance)
    }

    /// Steps to the first item of an array; all of them stand under the same.
    pub fn open_array(&mut self, outer: Under) -> Under {
        self.at.open_array(self.pieces.len());
        if Fields::is_settled_in_items(self.sieve, outer) { outer } else { self.under(outer) }
    }

    pub fn next_item(&mut self) {
        self.at.next_item();
    }

    pub fn mark(&self) -> Mark {
        Mark { at: self.at.mark(), sql: self.sql.len(), sql_bytes: self.sql_bytes, code: self.code.len(), pieces: self.pieces.len() }
    }

    /// As if nothing had been read since.
    pub fn back_to(&mut self, mark: &Mark) {
        self.at.back_to(mark.at);
        self.sql.truncate(mark.sql);
        self.sql_bytes = mark.sql_bytes;
        self.code.truncate(mark.code);
        self.pieces.truncate(mark.pieces);
    }

    #[inline(never)]
    fn under(&self, outer: Under) -> Under {
        self.fields.under(outer, || self.at.way().chain(self.within))
    }

    pub fn pointer(&self) -> String {
        self.at.pointer()
    }

    /// A string, where the reader stands.
    pub fn string(&mut self, text: &str, under: Under) -> Result<(), Failure> {
        if under == Under::Nothing && says_nothing(text.as_bytes()) {
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

    /// A string that stands under nothing and begins as SQL, where the reader stands, which is in no other string.
    pub fn sql_in_text(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.collect(part(text).into_owned(), Reading::Text, false)
    }

    /// A number or a truth value, where the reader stands: behind a piece of SQL it is one, too.
    pub fn bare(&mut self, value: Bare, under: Under) -> Result<(), Failure> {
        if under != Under::Sql || self.pieces.is_empty() || !self.at.is_at_item() {
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
        self.at.back_to(mark.at);
        self.pieces.truncate(mark.pieces);
    }

    /// Closes the array that was opened last. Its items, and those of arrays in it, may be the pieces of one statement.
    pub fn close_array(&mut self) -> Result<(), Box<Failure>> {
        let Some(closed) = self.at.close() else { return Ok(()) };
        let items = self.pieces.get(closed.pieces..).unwrap_or_default();
        if items.len() < 2 {
            return Ok(());
        }
        // Arrays in arrays are joined at every depth; what they come to is counted before it is made.
        for (text, reading) in joined(items, &self.sql, SQL_BYTES.saturating_sub(self.sql_bytes)).ok_or_else(too_long)? {
            self.collect(text, reading, true)?;
        }
        Ok(())
    }

    /// Closes the object that was opened last, and in which no name may stand twice.
    pub fn close_object(&mut self) -> Result<(), Box<Failure>> {
        match self.at.close_strictly() {
            Ok(closed) => {
                self.close_pieces(closed);
                Ok(())
            }
            Err(Twice) => Err(Box::new(self.repeated())),
        }
    }

    #[cold]
    fn repeated(&self) -> Failure {
        ambiguous(format!("the member at {} stands there more than once", self.pointer()))
    }

    /// The same where names may stand twice: whoever reads it may take either value, so both are judged.
    pub fn close_any_object(&mut self) {
        let closed = self.at.close();
        self.close_pieces(closed);
    }

    fn close_pieces(&mut self, closed: Option<Open>) {
        self.pieces.truncate(closed.map_or(0, |closed| closed.pieces));
    }
}

fn too_many() -> Failure {
    invalid(&format!("more than {SQL_TEXTS} strings of SQL"))
}

fn too_long() -> Failure {
    invalid(&format!("more than {} MiB of SQL", SQL_BYTES >> 20))
}
