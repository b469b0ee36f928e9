//! Which strings of a call are judged how: what policy says of the names they stand under.

use crate::identity::{NamePattern, TargetName};

/// How a string is read that stands in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Under a name that policy says holds SQL.
    Sql,
    /// Anywhere else: it is SQL only if it is nothing else.
    Text,
}

/// All names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Member names whose strings are SQL, at any depth.
    pub sql: Vec<String>,
    /// What is never judged.
    pub prose: Vec<Path>,
    /// What holds code, each literal of which is judged.
    pub code: Vec<CodeField>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeField {
    pub path: Path,
    /// In calls to which targets; empty means all.
    pub targets: Vec<NamePattern>,
}

impl CodeField {
    pub fn is_for(&self, target: &str) -> bool {
        let named = || TargetName::parse(target).is_some_and(|target| self.targets.iter().any(|pattern| pattern.matches(target.as_str())));
        self.targets.is_empty() || named()
    }
}

/// What stands under a name, as far as anybody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under {
    Nothing,
    Sql,
    Prose,
    Code(CodeFields),
}

/// Which of the code fields a value stands under: a bit for each, the last one for all that have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodeFields(u64);

impl CodeFields {
    fn bit(index: usize) -> u64 {
        1 << index.min(63)
    }
}

/// The names that are looked for, roughly: most names of a call have another first letter or another length than any of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sieve {
    names: u64,
    /// Whether any path ends with an item.
    items: bool,
}

/// A bit for a name, by its length and first letter, in either case.
#[inline]
pub(super) fn glance(name: &[u8]) -> u64 {
    let letter = usize::from(name.first().map_or(0, |first| first & 31));
    1 << ((letter + 7 * name.len()) & 63)
}

impl Sieve {
    /// Whether a name in ASCII that has this bit may be among them.
    #[inline]
    pub(super) fn may_hold(self, glance: u64) -> bool {
        self.names & glance != 0
    }
}

impl Fields {
    pub(super) fn sieve(&self) -> Sieve {
        let mut sieve = Sieve { names: self.sql.iter().fold(0, |names, name| names | glance(name.as_bytes())), items: false };
        for path in self.prose.iter().chain(self.code.iter().map(|field| &field.path)) {
            match path.steps.last() {
                Some(Step::Member(name)) => sieve.names |= glance(name.as_bytes()),
                Some(Step::AnyItem) => sieve.items = true,
                None => {}
            }
        }
        sieve
    }

    /// Whether what stands under a member is what stands around it, as can be told of most at once.
    #[inline]
    pub(super) fn is_settled(sieve: Sieve, outer: Under, name: &[u8], is_ascii: bool) -> bool {
        outer == Under::Sql || (is_ascii && !sieve.may_hold(glance(name)))
    }

    /// The same of an item.
    #[inline]
    pub(super) fn is_settled_in_items(sieve: Sieve, outer: Under) -> bool {
        outer == Under::Sql || !sieve.items
    }

    /// What stands under the member or item that the way ends with, where what is around it stands under `outer`.
    pub(super) fn under<'a, W: Iterator<Item = Way<'a>>>(&self, outer: Under, way: impl Fn() -> W) -> Under {
        let Some(last) = way().next() else { return outer };
        if let Way::Member(name) = last
            && self.sql.iter().any(|field| is_named(name, field))
        {
            return Under::Sql;
        }
        let fits = |path: &Path| path.steps.last().is_some_and(|step| step.is(last)) && path.ends(way());
        if self.prose.iter().any(fits) {
            return Under::Prose;
        }
        let code = self.code.iter().enumerate().filter(|(_, field)| fits(&field.path));
        match code.fold(0, |bits, (index, _)| bits | CodeFields::bit(index)) {
            0 => outer,
            bits => Under::Code(CodeFields(bits)),
        }
    }

    /// Whether what stands under these is code in a call to this target.
    pub(super) fn is_code(&self, under: CodeFields, target: &str) -> bool {
        let stands_under = |index| under.0 & CodeFields::bit(index) != 0;
        self.code.iter().enumerate().any(|(index, field)| stands_under(index) && field.is_for(target))
    }
}

/// `prompt`, `payload.code`, `messages[].content`: the end of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    written: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    AnyItem,
}

/// A step of the way to the value that is being read. A member's name is UTF-8. It may be most of a body: nobody looks at all of it for
/// every value that stands under it.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    Member(&'a [u8]),
    Item,
}

impl Step {
    fn is(&self, way: Way<'_>) -> bool {
        match (self, way) {
            (Self::Member(name), Way::Member(written)) => is_named(written, name),
            (Self::AnyItem, Way::Item) => true,
            (Self::Member(_), Way::Item) | (Self::AnyItem, Way::Member(_)) => false,
        }
    }
}

impl Path {
    /// In any letter case.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written = text.to_lowercase();
        let mut steps = Vec::new();
        for part in written.split('.') {
            let name = part.trim_end_matches("[]");
            if name.is_empty() || name.contains(['[', ']', '/']) {
                return Err(format!(
                    "`{text}` is no path: write members with dots between them and `[]` for each item of an array, as in \"messages[].content\""
                ));
            }
            steps.push(Step::Member(name.to_owned()));
            steps.extend(std::iter::repeat_n(Step::AnyItem, (part.len() - name.len()) / 2));
        }
        Ok(Self { written, steps })
    }

    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether the way ends like this. `way` gives its steps, the last one first.
    pub fn ends<'a>(&self, mut way: impl Iterator<Item = Way<'a>>) -> bool {
        self.steps.iter().rev().all(|step| way.next().is_some_and(|way| step.is(way)))
    }
}

/// Whether a name as written is one in lower case.
fn is_named(written: &[u8], name: &str) -> bool {
    written.eq_ignore_ascii_case(name.as_bytes()) || (written.len() <= longest_of(name) && !written.is_ascii() && is_lowered(written, name))
}

/// In lower case a character is one at least, and none takes more than four bytes.
fn longest_of(name: &str) -> usize {
    4 * name.len()
}

fn is_lowered(written: &[u8], name: &str) -> bool {
    str::from_utf8(written).is_ok_and(|written| written.chars().flat_map(char::to_lowercase).eq(name.chars()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_end_of_the_way() {
        let way = [Way::Member(b"payload"), Way::Member(b"Messages"), Way::Item, Way::Member(b"CONTENT")];
        for (path, ends) in [
            ("content", true),
            ("messages[].content", true),
            ("payload.messages[].content", true),
            ("Payload.Messages[].Content", true),
            ("messages.content", false),
            ("other.content", false),
            ("messages[]", false),
            ("x.payload.messages[].content", false),
        ] {
            assert_eq!(Path::parse(path).unwrap().ends(way.iter().rev().copied()), ends, "{path}");
        }
        for path in ["", ".a", "a.", "a..b", "[]", "a[0]", "a[].[]"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }
}
