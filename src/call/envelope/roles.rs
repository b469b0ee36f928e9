//! What a place in the envelope asks of the value that stands there, whichever reader has met it.

use super::super::begins::{begins_with_letter, begins_with_verb, says_nothing};
use super::super::fields::Under;
use super::super::{as_legible, legible};
use super::pieces::Bare;
use super::text::part;
use super::walk::{Place, Walk};
use super::whereabouts::Name;
use super::{ambiguous, invalid};
use crate::identity::{Action, NAME_LIMIT};
use crate::verdict::Failure;

/// Names that `serde_json::Value` does not read as names: a value read and written again would be another value.
const RESERVED: &[u8] = b"$serde_json::private::";

/// Which part of the envelope a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Root,
    Target,
    Action,
    Operation,
    Payload,
    PayloadAction,
    Other,
}

impl Role {
    #[inline]
    fn of_member(self, name: &[u8]) -> Self {
        match (self, name) {
            (Self::Root, b"target") => Self::Target,
            (Self::Root, b"action") => Self::Action,
            (Self::Root, b"operation") => Self::Operation,
            (Self::Root, b"payload") => Self::Payload,
            (Self::Payload, b"action") => Self::PayloadAction,
            _ => Self::Other,
        }
    }

    /// Whether any value may stand here.
    pub const fn takes_any(self) -> bool {
        matches!(self, Self::Operation | Self::Payload | Self::PayloadAction | Self::Other)
    }

    /// A value that is no string stands where the envelope asks for one, or no object where it asks for that.
    #[inline]
    pub fn refuses(self) -> Result<(), Box<Failure>> {
        let what = match self {
            Self::Operation | Self::Payload | Self::PayloadAction | Self::Other => return Ok(()),
            Self::Root => "the body must be a JSON object",
            Self::Target => "\"target\" must be a string",
            Self::Action => "\"action\" must be a string or null",
        };
        Err(refused(what))
    }
}

#[cold]
fn refused(what: &str) -> Box<Failure> {
    Box::new(invalid(what))
}

impl<'de> Place<'de> {
    /// With one more member of the root: what it is called, and whether the body says so as it is.
    fn with(self, role: Role, name: Option<&'de [u8]>) -> Self {
        match (self, role, name) {
            (Self::Nowhere, Role::Payload, Some(name)) => Self::Between(name, None),
            (Self::Between(before, None), _, Some(name)) => Self::Between(before, Some(name)),
            (Self::Nowhere, Role::Payload, None) | (Self::Between(_, None), _, None) => Self::Somewhere,
            (place, ..) => place,
        }
    }
}

impl<'de> Walk<'de, '_> {
    pub fn null(&mut self, role: Role) -> Result<(), Box<Failure>> {
        if role == Role::Action { Ok(()) } else { role.refuses() }
    }

    pub fn number_or_truth(&mut self, role: Role, value: Bare, under: Under) -> Result<(), Box<Failure>> {
        role.refuses()?;
        Ok(self.bare(value, under)?)
    }

    /// A string that is UTF-8.
    pub fn text(&mut self, role: Role, text: &[u8], under: Under) -> Result<(), Box<Failure>> {
        if role == Role::Other && under == Under::Nothing {
            // Most strings are told by their first bytes to be nothing that anybody looks at.
            if says_nothing(text) {
                return Ok(());
            }
            if begins_with_letter(text) {
                return if begins_with_verb(text) { Ok(self.sql_in_text(text)?) } else { Ok(()) };
            }
        }
        self.text_of(role, &part(text), under)
    }

    fn text_of(&mut self, role: Role, text: &str, under: Under) -> Result<(), Box<Failure>> {
        match role {
            Role::Operation | Role::Payload | Role::Other => {}
            Role::Root => return role.refuses(),
            Role::Target if text.is_empty() => return Err(refused("\"target\" must not be empty")),
            // It names a target, or the call goes nowhere.
            Role::Target => {
                self.target = Some(legible(text, NAME_LIMIT));
                return Ok(());
            }
            Role::Action if text.is_empty() => {}
            Role::Action => match Action::parse(text) {
                Some(action) => self.action = Some(action),
                None => return Err(refused("\"action\" must be at most 128 bytes without control characters")),
            },
            // To most targets this is just data, so it is not refused; what is no action is marked, and so names none that is listed.
            Role::PayloadAction => self.payload_action = Action::parse(&as_legible(text, NAME_LIMIT)),
        }
        Ok(self.string(text, under)?)
    }

    /// Steps into a member of what has this role and stands under `outer`: the role of its value, and what that stands under.
    pub fn written_member(
        &mut self,
        around: Role,
        outer: Under,
        place: Name,
        name: &'de [u8],
        is_ascii: bool,
    ) -> Result<(Role, Under), Box<Failure>> {
        let under = self.enter_written(place, name, outer, is_ascii);
        self.placed(around, under, name, Some(name))
    }

    /// The same of any name; `written`: itself, if the body says it as it is.
    pub fn member(&mut self, around: Role, outer: Under, name: &[u8], written: Option<&'de [u8]>) -> Result<(Role, Under), Box<Failure>> {
        let under = self.enter_member(name, outer);
        self.placed(around, under, name, written)
    }

    fn placed(&mut self, around: Role, under: Under, name: &[u8], written: Option<&'de [u8]>) -> Result<(Role, Under), Box<Failure>> {
        let role = around.of_member(name);
        if around == Role::Root {
            self.payload = self.payload.with(role, written);
        }
        if name.starts_with(RESERVED) {
            return Err(Box::new(self.reserved()));
        }
        Ok((role, if role == Role::Operation { Under::Sql } else { under }))
    }

    #[cold]
    fn reserved(&self) -> Failure {
        ambiguous(format!("the member at {} has a reserved name", self.pointer()))
    }
}
