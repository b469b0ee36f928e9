//! The body's JSON as most callers write it, read at the speed of a search: of a string no byte is looked at by itself, only its end is
//! looked for, and nothing is copied. What is written otherwise, or wrongly, is left to `serde_json` (`visit`): a string with escapes or a
//! number that is more than digits by itself, and anything else with the whole body, from its beginning. So what is JSON, and what is said
//! of what is none, has one judge.

use serde::de::DeserializeSeed;

use super::super::begins::says_nothing;
use super::super::fields::Under;
use super::pieces::Bare;
use super::roles::Role;
use super::text::{Text, has_controls};
use super::visit::Node;
use super::walk::Walk;
use super::whereabouts::Name;
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

impl From<Box<Failure>> for Stop {
    #[cold]
    fn from(failure: Box<Failure>) -> Self {
        Self::Refused(failure)
    }
}

/// What `serde_json` would make of a text, or nothing but that it was not read.
pub fn read<'de>(walk: &mut Walk<'de, '_>, text: Text<'de>, role: Role) -> Result<(), Stop> {
    let bytes = text.as_bytes();
    let mut reader = Reader { walk, bytes, is_plain: text.is_plain(), has_controls: text.has_controls() };
    let end = reader.value(past_blanks(bytes, 0), role, Under::Nothing, DEPTH)?;
    if past_blanks(bytes, end) == bytes.len() { Ok(()) } else { Err(Stop::Unread) }
}

/// Each of its functions reads what begins at a place, and tells the place behind it.
struct Reader<'w, 'de, 'f> {
    walk: &'w mut Walk<'de, 'f>,
    /// UTF-8. So is every part of it between two quotes.
    bytes: &'de [u8],
    /// Whether that is ASCII.
    is_plain: bool,
    /// Whether there is any control character in it: between values they are blanks, in strings none may stand.
    has_controls: bool,
}

impl<'de> Reader<'_, 'de, '_> {
    #[inline(never)]
    fn value(&mut self, at: usize, role: Role, under: Under, depth: usize) -> Result<usize, Stop> {
        match self.bytes.get(at) {
            Some(b'"') => self.string(at, role, under),
            Some(b'{') => self.object(at, role, under, depth),
            Some(b'[') => self.array(at, role, under, depth),
            Some(b'-' | b'0'..=b'9') => self.number(at, role, under),
            Some(b't') => self.truth(at, b"true", true, role, under),
            Some(b'f') => self.truth(at, b"false", false, role, under),
            Some(b'n') => {
                let end = self.word(at, b"null")?;
                self.walk.null(role)?;
                Ok(end)
            }
            _ => Err(Stop::Unread),
        }
    }

    /// One of which nobody says anything. Most are strings, and the way to them is short.
    #[inline(always)]
    fn any_value(&mut self, at: usize, depth: usize) -> Result<usize, Stop> {
        match self.bytes.get(at) {
            Some(b'"') => {}
            Some(b'{') if self.is_plain && depth > 0 => {
                return match self.plain_object(at) {
                    Some(end) => Ok(end),
                    None => self.object(at, Role::Other, Under::Nothing, depth),
                };
            }
            _ => return self.value(at, Role::Other, Under::Nothing, depth),
        }
        let end = next_stop(self.bytes, at + 1)?;
        match self.unescaped(at, end) {
            Some(text) if says_nothing(text) => Ok(end + 1),
            _ => self.string_to(at, end, Role::Other, Under::Nothing),
        }
    }

    fn object(&mut self, at: usize, around: Role, outer: Under, depth: usize) -> Result<usize, Stop> {
        if around != Role::Root {
            around.refuses()?;
        }
        let depth = depth.checked_sub(1).ok_or(Stop::Unread)?;
        let bytes = self.bytes;
        self.walk.open_object();
        let mut at = past_blanks(bytes, at + 1);
        if bytes.get(at) == Some(&b'}') {
            at += 1;
        } else {
            loop {
                if bytes.get(at) != Some(&b'"') {
                    return Err(Stop::Unread);
                }
                let end = end_of_name(bytes, at + 1)?;
                at = self.member(at, end, around, outer, depth)?;
                at = past_blanks(bytes, at);
                match bytes.get(at) {
                    Some(b',') => at = past_blanks(bytes, at + 1),
                    Some(b'}') => break,
                    _ => return Err(Stop::Unread),
                }
            }
            at += 1;
        }
        self.walk.close_object()?;
        Ok(at)
    }

    /// What opens here, if it is nothing but strings of which nobody says anything and which say nothing, under names that differ at a glance:
    /// then nobody need know where the reader stands in it. Of any other object nothing is read, and of none more than its own members.
    #[inline(never)]
    fn plain_object(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes;
        let mut seen = 0;
        let mut at = past_blanks(bytes, at + 1);
        loop {
            let name = at + 1;
            if bytes.get(at) != Some(&b'"') {
                return None;
            }
            let end = end_of_name(bytes, name).ok()?;
            let glance = self.walk.glance(bytes.get(name..end)?)?;
            if bytes.get(end) != Some(&b'"') || seen & glance != 0 {
                return None;
            }
            seen |= glance;
            let open = self.past_colon(end + 1).ok()? + 1;
            if bytes.get(open - 1) != Some(&b'"') {
                return None;
            }
            let close = next_stop(bytes, open).ok()?;
            if !says_nothing(bytes.get(open..close)?) || bytes.get(close) != Some(&b'"') {
                return None;
            }
            at = past_blanks(bytes, close + 1);
            match bytes.get(at) {
                Some(b',') => at = past_blanks(bytes, at + 1),
                Some(b'}') => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// Any. Its name has a backslash at `end`, or what closes it.
    #[inline(never)]
    fn member(&mut self, at: usize, end: usize, around: Role, outer: Under, depth: usize) -> Result<usize, Stop> {
        let (behind, (role, under)) = match self.unescaped(at, end) {
            Some(name) => {
                let is_ascii = self.is_plain || name.is_ascii();
                (end + 1, self.walk.written_member(around, outer, Name::written(at + 1, end), name, is_ascii)?)
            }
            None => {
                let quoted = self.quoted(at, end)?;
                let name: String = serde_json::from_slice(quoted).map_err(|_| Stop::Unread)?;
                (at + quoted.len(), self.walk.member(around, outer, name.as_bytes(), None)?)
            }
        };
        let at = self.past_colon(behind)?;
        if role == Role::Other && under == Under::Nothing { self.any_value(at, depth) } else { self.value(at, role, under, depth) }
    }

    /// To the value of a member.
    #[inline(always)]
    fn past_colon(&self, at: usize) -> Result<usize, Stop> {
        let at = past_blanks(self.bytes, at);
        if self.bytes.get(at) == Some(&b':') { Ok(past_blanks(self.bytes, at + 1)) } else { Err(Stop::Unread) }
    }

    fn array(&mut self, at: usize, role: Role, under: Under, depth: usize) -> Result<usize, Stop> {
        role.refuses()?;
        let depth = depth.checked_sub(1).ok_or(Stop::Unread)?;
        let bytes = self.bytes;
        let under = self.walk.open_array(under);
        let mut at = past_blanks(bytes, at + 1);
        if bytes.get(at) != Some(&b']') {
            loop {
                at = if under == Under::Nothing { self.any_value(at, depth)? } else { self.value(at, Role::Other, under, depth)? };
                self.walk.next_item();
                at = past_blanks(bytes, at);
                match bytes.get(at) {
                    Some(b',') => at = past_blanks(bytes, at + 1),
                    Some(b']') => break,
                    _ => return Err(Stop::Unread),
                }
            }
        }
        self.walk.close_array()?;
        Ok(at + 1)
    }

    fn string(&mut self, at: usize, role: Role, under: Under) -> Result<usize, Stop> {
        let end = next_stop(self.bytes, at + 1)?;
        self.string_to(at, end, role, under)
    }

    /// With a backslash at `end`, or what closes it.
    #[inline(never)]
    fn string_to(&mut self, at: usize, end: usize, role: Role, under: Under) -> Result<usize, Stop> {
        let Some(text) = self.unescaped(at, end) else {
            let quoted = self.quoted(at, end)?;
            self.by_serde(quoted, role, under)?;
            return Ok(at + quoted.len());
        };
        self.walk.text(role, text, under)?;
        Ok(end + 1)
    }

    /// A string up to what ends it. Nothing if that is no quote but a backslash, or if no JSON has such a string.
    #[inline(always)]
    fn unescaped(&self, at: usize, end: usize) -> Option<&'de [u8]> {
        let text = self.bytes.get(at + 1..end)?;
        if self.bytes.get(end) != Some(&b'"') || (self.has_controls && has_controls(text)) { None } else { Some(text) }
    }

    /// A string with its quotes, and with a backslash at `end` or what closes it.
    fn quoted(&self, at: usize, mut end: usize) -> Result<&'de [u8], Stop> {
        while self.bytes.get(end) == Some(&b'\\') {
            // Whatever stands behind it closes nothing.
            end = next_stop(self.bytes, end + 2)?;
        }
        self.bytes.get(at..=end).ok_or(Stop::Unread)
    }

    fn number(&mut self, at: usize, role: Role, under: Under) -> Result<usize, Stop> {
        let rest = self.bytes.get(at..).ok_or(Stop::Unread)?;
        let is_in = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(|byte| is_in(byte)).count();
        let number = rest.get(..length).ok_or(Stop::Unread)?;
        // Its value is nobody's business.
        if !(role.takes_any() && under != Under::Sql && is_plain(number)) {
            self.by_serde(number, role, under)?;
        }
        Ok(at + length)
    }

    fn truth(&mut self, at: usize, word: &[u8], value: bool, role: Role, under: Under) -> Result<usize, Stop> {
        let end = self.word(at, word)?;
        self.walk.number_or_truth(role, Bare::Truth(value), under)?;
        Ok(end)
    }

    fn word(&self, at: usize, word: &[u8]) -> Result<usize, Stop> {
        if self.bytes.get(at..).is_some_and(|rest| rest.starts_with(word)) { Ok(at + word.len()) } else { Err(Stop::Unread) }
    }

    /// One string or number.
    fn by_serde(&mut self, text: &'de [u8], role: Role, under: Under) -> Result<(), Stop> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let node = Node { walk: &mut *self.walk, role, under };
        let read = node.deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|_| self.walk.failure.take().map_or(Stop::Unread, Stop::from))
    }
}

/// The place of what comes next.
#[inline(always)]
fn past_blanks(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at).is_some_and(|byte| *byte <= b' ') { past_some_blanks(bytes, at) } else { at }
}

#[inline(never)]
fn past_some_blanks(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).count()
}

/// The first quote or backslash from here on. Most are near, and to choose among ways to look for them would cost as much as to look.
#[inline(always)]
fn end_of_name(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    let rest = bytes.get(from..).unwrap_or_default();
    #[cfg(target_arch = "x86_64")]
    let found = memchr::arch::x86_64::sse2::memchr::Two::new(b'"', b'\\').and_then(|stops| stops.find(rest));
    #[cfg(not(target_arch = "x86_64"))]
    let found = memchr::memchr2(b'"', b'\\', rest);
    Ok(from + found.ok_or(Stop::Unread)?)
}

#[inline(never)]
fn next_stop(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    end_of_name(bytes, from)
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

#[cfg(test)]
mod tests;
