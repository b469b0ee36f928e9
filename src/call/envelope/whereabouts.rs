//! Where in a body its reader stands: in which objects and arrays, at which member or item of each. Told without a step for every member:
//! of an object that is open, the name met last is the one whose value is being read.

use smallvec::SmallVec;

use super::super::fields::{Way, glance};
use super::super::legible;

/// A longer pointer is cut: it is for people, and a body of nothing but names must not grow while it is read.
const POINTER_LIMIT: usize = 256;

/// Of an object with so few members, each name is compared with each; of others they are put in order first.
const FEW: usize = 8;

pub struct Whereabouts<'t> {
    /// The names met in every object that is still open, the outermost first. There is room at hand for as many as most calls have.
    names: SmallVec<[Name; 24]>,
    open: SmallVec<[Open; 8]>,
    said: Said<'t>,
}

/// Where a name stands: in the body, or, as if they stood behind it, among those that do not stand there as they are.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    start: usize,
    end: usize,
}

impl Name {
    /// In the body.
    #[inline]
    pub const fn written(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// What names say. They are UTF-8, of which few have to know.
struct Said<'t> {
    body: &'t [u8],
    own: Vec<u8>,
}

/// An object or an array that is open.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// How many names were met before.
    names: usize,
    /// How many bytes the body does not say of them.
    own: usize,
    /// How many pieces of SQL.
    pub pieces: usize,
    /// At which item the reader is. An object has none.
    item: usize,
}

/// How far it all had come, to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    names: usize,
    own: usize,
    open: usize,
}

/// In place of an item, in an object.
const NO_ITEM: usize = usize::MAX;

impl Said<'_> {
    #[inline]
    fn name(&self, name: Name) -> &[u8] {
        match self.body.get(name.start..name.end) {
            Some(written) => written,
            None => self.own(name),
        }
    }

    #[cold]
    fn own(&self, name: Name) -> &[u8] {
        let before = self.body.len();
        self.own.get(name.start.saturating_sub(before)..name.end.saturating_sub(before)).unwrap_or_default()
    }
}

impl<'t> Whereabouts<'t> {
    /// In a body whose names may be told by where they stand.
    pub fn of(body: &'t [u8]) -> Self {
        Self { names: SmallVec::new(), open: SmallVec::new(), said: Said { body, own: Vec::new() } }
    }

    pub fn body(&self) -> &'t [u8] {
        self.said.body
    }

    #[inline]
    pub fn open_object(&mut self, pieces: usize) {
        self.open.push(Open { names: self.names.len(), own: self.said.own.len(), pieces, item: NO_ITEM });
    }

    #[inline]
    pub fn open_array(&mut self, pieces: usize) {
        self.open.push(Open { names: self.names.len(), own: self.said.own.len(), pieces, item: 0 });
    }

    /// Steps to the value of this name.
    #[inline]
    pub fn enter(&mut self, name: Name) {
        self.names.push(name);
    }

    /// A name that the body does not say as it is.
    pub fn keep(&mut self, name: &[u8]) -> Name {
        let start = self.said.body.len() + self.said.own.len();
        self.said.own.extend_from_slice(name);
        Name { start, end: start + name.len() }
    }

    #[inline]
    pub fn next_item(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.item += 1;
        }
    }

    pub fn is_at_item(&self) -> bool {
        self.open.last().is_some_and(|open| open.item != NO_ITEM)
    }

    /// Steps out of what was opened last.
    #[inline]
    pub fn close(&mut self) -> Option<Open> {
        let closed = self.open.pop()?;
        self.names.truncate(closed.names);
        self.said.own.truncate(closed.own);
        Some(closed)
    }

    /// The same with an object in which no name may stand twice. Where one does, the reader is left at it.
    #[inline]
    pub fn close_strictly(&mut self) -> Result<Option<Open>, Twice> {
        let Some(closed) = self.open.pop() else { return Ok(None) };
        if let Some(names @ [_, _, ..]) = self.names.get_mut(closed.names..)
            && let Some(at) = self.said.twice(names)
        {
            self.open.push(closed);
            self.names.truncate(closed.names + at + 1);
            return Err(Twice);
        }
        self.names.truncate(closed.names);
        self.said.own.truncate(closed.own);
        Ok(Some(closed))
    }

    pub fn mark(&self) -> Mark {
        Mark { names: self.names.len(), own: self.said.own.len(), open: self.open.len() }
    }

    pub fn back_to(&mut self, mark: Mark) {
        self.names.truncate(mark.names);
        self.said.own.truncate(mark.own);
        self.open.truncate(mark.open);
    }

    /// The last step first.
    pub fn way(&self) -> impl Iterator<Item = Way<'_>> {
        let mut end = self.names.len();
        self.open.iter().rev().filter_map(move |open| {
            let names = self.names.get(open.names..end);
            end = open.names;
            if open.item != NO_ITEM {
                return Some(Way::Item);
            }
            Some(Way::Member(self.said.name(*names?.last()?)))
        })
    }

    /// RFC 6901.
    pub fn pointer(&self) -> String {
        let mut out = Vec::with_capacity(64);
        let mut is_plain = true;
        for (depth, open) in self.open.iter().enumerate() {
            if out.len() > POINTER_LIMIT {
                break;
            }
            if open.item != NO_ITEM {
                out.push(b'/');
                out.extend_from_slice(itoa::Buffer::new().format(open.item).as_bytes());
                continue;
            }
            let end = self.open.get(depth + 1).map_or(self.names.len(), |next| next.names);
            if let Some(name) = self.names.get(open.names..end).and_then(<[_]>::last) {
                let name = self.said.name(*name);
                out.push(b'/');
                if name.len() <= POINTER_LIMIT && name.iter().all(is_told_as_it_is) {
                    out.extend_from_slice(name);
                } else {
                    is_plain = false;
                    out.extend_from_slice(escaped(name).as_bytes());
                }
            }
        }
        let pointer = String::from_utf8(out).unwrap_or_default();
        if is_plain && pointer.len() <= POINTER_LIMIT { pointer } else { legible(&pointer, POINTER_LIMIT) }
    }
}

/// Whether a byte of a name stands in a pointer as it does in the name, and nobody minds it there.
fn is_told_as_it_is(byte: &u8) -> bool {
    matches!(byte, b' '..=b'.' | b'0'..=b'}')
}

/// Only of its beginning: it may be most of a body, and is told of every text that stands under it.
#[cold]
fn escaped(name: &[u8]) -> String {
    let mut out = String::new();
    let begins = name.get(..4 * POINTER_LIMIT).unwrap_or(name);
    for c in String::from_utf8_lossy(begins).chars().take(POINTER_LIMIT) {
        match c {
            '~' => out.push_str("~0"),
            '/' => out.push_str("~1"),
            c => out.push(c),
        }
    }
    out
}

/// That a name stands twice in an object.
#[derive(Clone, Copy, Debug)]
pub struct Twice;

impl Said<'_> {
    /// What most names differ in is asked first.
    #[inline]
    fn is_same(&self, one: Name, other: Name) -> bool {
        if one.end.wrapping_sub(one.start) != other.end.wrapping_sub(other.start) {
            return false;
        }
        let (one, other) = (self.name(one), self.name(other));
        one.first() == other.first() && one == other
    }

    /// A place of a name that stands there more than once.
    #[inline]
    fn twice(&self, names: &mut [Name]) -> Option<usize> {
        match names {
            [one, other] => self.is_same(*one, *other).then_some(1),
            names if names.len() > FEW => self.twice_of_many(names),
            names if self.differ_at_a_glance(names) => None,
            names => self.twice_of_few(names),
        }
    }

    /// As most few do, in their lengths and first letters.
    #[inline]
    fn differ_at_a_glance(&self, names: &[Name]) -> bool {
        let mut seen = 0;
        names.iter().all(|name| {
            let bit = glance(self.name(*name));
            let is_new = seen & bit == 0;
            seen |= bit;
            is_new
        })
    }

    fn twice_of_few(&self, names: &[Name]) -> Option<usize> {
        let is_met = |(at, name): &(usize, &Name)| names.iter().take(*at).any(|before| self.is_same(*before, **name));
        names.iter().enumerate().find(is_met).map(|(at, _)| at)
    }

    #[inline(never)]
    fn twice_of_many(&self, names: &mut [Name]) -> Option<usize> {
        names.sort_unstable_by(|one, other| self.name(*one).cmp(self.name(*other)));
        names.windows(2).position(|pair| matches!(pair, [one, other] if self.is_same(*one, *other)))
    }
}
