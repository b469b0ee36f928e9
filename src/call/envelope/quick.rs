//! The body's JSON as most callers write it, read at the speed of a search: of a string no byte is looked at by itself, only its end is
//! looked for, and nothing is copied. What is written otherwise, or wrongly, is left to `serde_json` (`visit`): a string with escapes or a
//! number that is more than digits by itself, and anything else with the whole body, from its beginning. So what is JSON, and what is said
//! of what is none, has one judge.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::DeserializeSeed;

use super::super::fields::Under;
use super::pieces::Bare;
use super::roles::Role;
use super::visit::Node;
use super::walk::Walk;
use crate::verdict::Failure;

/// Half as deep as `serde_json` goes.
const DEPTH: usize = 64;

/// A number of so many digits is no number out of range.
const DIGITS: usize = 32;

/// Why not all of it was read.
#[derive(Debug)]
pub enum Stop {
    Refused(Box<Failure>),
    /// It may be JSON, but for somebody else to read.
    Unread,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Refused(Box::new(failure))
    }
}

/// What `serde_json` would make of a text, or nothing but that it was not read.
pub fn read<'de>(walk: &mut Walk<'de, '_>, text: &'de str, role: Role) -> Result<(), Stop> {
    let mut reader = Reader { walk, text, at: 0, controls: has_controls(text) };
    reader.value(role, Under::Nothing, DEPTH)?;
    if reader.peek().is_none() && reader.at == text.len() { Ok(()) } else { Err(Stop::Unread) }
}

struct Reader<'w, 'de, 'f> {
    walk: &'w mut Walk<'de, 'f>,
    text: &'de str,
    at: usize,
    /// Whether there is any control character in the text: between values they are blanks, in strings none may stand.
    controls: bool,
}

impl<'de> Reader<'_, 'de, '_> {
    /// What comes next, past blanks.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                next => return next.copied(),
            }
        }
    }

    /// Most values are strings, and the way to them is short.
    #[inline(always)]
    fn string_or_value(&mut self, role: Role, under: Under, depth: usize) -> Result<(), Stop> {
        if self.peek() == Some(b'"') { self.string(role, under) } else { self.value(role, under, depth) }
    }

    #[inline(never)]
    fn value(&mut self, role: Role, under: Under, depth: usize) -> Result<(), Stop> {
        match self.peek() {
            Some(b'"') => self.string(role, under),
            Some(b'{') => self.object(role, under, depth),
            Some(b'[') => self.array(role, under, depth),
            Some(b'-' | b'0'..=b'9') => self.number(role, under),
            Some(b't') => self.truth("true", true, role, under),
            Some(b'f') => self.truth("false", false, role, under),
            Some(b'n') => {
                self.word("null")?;
                Ok(self.walk.null(role)?)
            }
            _ => Err(Stop::Unread),
        }
    }

    fn object(&mut self, around: Role, outer: Under, depth: usize) -> Result<(), Stop> {
        if around != Role::Root {
            around.refuses()?;
        }
        let depth = depth.checked_sub(1).ok_or(Stop::Unread)?;
        let mark = self.walk.mark();
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.name()?;
            let (role, under) = self.walk.member(around, outer, name)?;
            if self.peek() != Some(b':') {
                return Err(Stop::Unread);
            }
            self.at += 1;
            self.string_or_value(role, under, depth)?;
            self.walk.leave_member();
            let next = self.peek();
            self.at += 1;
            match next {
                Some(b',') => {}
                Some(b'}') => break,
                _ => return Err(Stop::Unread),
            }
        }
        Ok(self.walk.close_object(&mark)?)
    }

    fn array(&mut self, role: Role, under: Under, depth: usize) -> Result<(), Stop> {
        role.refuses()?;
        let depth = depth.checked_sub(1).ok_or(Stop::Unread)?;
        let mark = self.walk.mark();
        let under = self.walk.enter_items(under);
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.string_or_value(Role::Other, under, depth)?;
                self.walk.next_item();
                let next = self.peek();
                self.at += 1;
                match next {
                    Some(b',') => {}
                    Some(b']') => break,
                    _ => return Err(Stop::Unread),
                }
            }
        }
        Ok(self.walk.close_array(&mark)?)
    }

    #[inline(always)]
    fn string(&mut self, role: Role, under: Under) -> Result<(), Stop> {
        let open = self.at + 1;
        let rest = self.text.as_bytes().get(open..).ok_or(Stop::Unread)?;
        let end = open + memchr2(b'"', b'\\', rest).ok_or(Stop::Unread)?;
        match self.unescaped(open, end) {
            Some(text) => Ok(self.walk.text(role, text, under)?),
            None => self.with_escapes(end, role, under),
        }
    }

    #[inline(never)]
    fn with_escapes(&mut self, end: usize, role: Role, under: Under) -> Result<(), Stop> {
        let quoted = self.quoted(end)?;
        self.by_serde(quoted, role, under)
    }

    /// Of a member. Most are a few letters, and are read before a search has begun.
    #[inline(always)]
    fn name(&mut self) -> Result<Cow<'de, str>, Stop> {
        if self.peek() != Some(b'"') {
            return Err(Stop::Unread);
        }
        let open = self.at + 1;
        let rest = self.text.as_bytes().get(open..).ok_or(Stop::Unread)?;
        let end = open + rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(Stop::Unread)?;
        match self.unescaped(open, end) {
            Some(name) => Ok(Cow::Borrowed(name)),
            None => self.name_with_escapes(end),
        }
    }

    #[cold]
    fn name_with_escapes(&mut self, end: usize) -> Result<Cow<'de, str>, Stop> {
        serde_json::from_str(self.quoted(end)?).map(Cow::Owned).map_err(|_| Stop::Unread)
    }

    /// A string up to what ends it, which is passed. Nothing if that is no quote but a backslash, or if no JSON has such a string.
    #[inline(always)]
    fn unescaped(&mut self, open: usize, end: usize) -> Option<&'de str> {
        let text = self.text.get(open..end)?;
        if self.text.as_bytes().get(end) != Some(&b'"') || (self.controls && has_controls(text)) {
            return None;
        }
        self.at = end + 1;
        Some(text)
    }

    /// The string that opens here, with its quotes, and with a backslash at `end` or what closes it; it is passed.
    fn quoted(&mut self, mut end: usize) -> Result<&'de str, Stop> {
        let bytes = self.text.as_bytes();
        while bytes.get(end) == Some(&b'\\') {
            // Whatever stands behind it closes nothing.
            end += 2;
            end += memchr2(b'"', b'\\', bytes.get(end..).ok_or(Stop::Unread)?).ok_or(Stop::Unread)?;
        }
        let quoted = self.text.get(self.at..=end).ok_or(Stop::Unread)?;
        self.at = end + 1;
        Ok(quoted)
    }

    fn number(&mut self, role: Role, under: Under) -> Result<(), Stop> {
        let rest = self.text.get(self.at..).ok_or(Stop::Unread)?;
        let is_in = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.as_bytes().iter().take_while(|byte| is_in(byte)).count();
        let number = rest.get(..length).ok_or(Stop::Unread)?;
        self.at += length;
        // Its value is nobody's business.
        if role.takes_any() && under != Under::Sql && is_plain(number.as_bytes()) {
            return Ok(());
        }
        self.by_serde(number, role, under)
    }

    fn truth(&mut self, word: &str, value: bool, role: Role, under: Under) -> Result<(), Stop> {
        self.word(word)?;
        Ok(self.walk.number_or_truth(role, Bare::Truth(value), under)?)
    }

    fn word(&mut self, word: &str) -> Result<(), Stop> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(Stop::Unread);
        }
        self.at += word.len();
        Ok(())
    }

    /// One string or number.
    fn by_serde(&mut self, text: &'de str, role: Role, under: Under) -> Result<(), Stop> {
        let mut json = serde_json::Deserializer::from_str(text);
        let node = Node { walk: &mut *self.walk, role, under };
        let read = node.deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|_| self.walk.failure.take().map_or(Stop::Unread, Stop::from))
    }
}

/// As JSON writes numbers, without an exponent.
fn is_plain(number: &[u8]) -> bool {
    let number = number.strip_prefix(b"-").unwrap_or(number);
    let whole = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, part) = number.split_at_checked(whole).unwrap_or_default();
    let is_whole = matches!(whole, [b'0'] | [b'1'..=b'9', ..]);
    let is_part = match part {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_whole && is_part && number.len() <= DIGITS
}

/// In blocks, each of which is looked at as a whole.
fn has_controls(text: &str) -> bool {
    let least = |bytes: &[u8]| bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let (blocks, rest) = text.as_bytes().as_chunks::<256>();
    blocks.iter().any(|block| least(block) < b' ') || least(rest) < b' '
}

#[cfg(test)]
mod tests;
