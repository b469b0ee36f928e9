//! What a place in the envelope asks of the value that stands there, whichever reader has met it.

use std::borrow::Cow;

use super::super::begins::says_nothing;
use super::super::fields::Under;
use super::super::legible;
use super::pieces::Bare;
use super::walk::{Place, Walk};
use super::{ambiguous, invalid};
use crate::identity::{Action, NAME_LIMIT};
use crate::verdict::Failure;

/// Names that `serde_json::Value` does not read as names: a value read and written again would be another value.
const RESERVED: &str = "$serde_json::private::";

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
    fn of_member(self, name: &str) -> Self {
        if self == Self::Other {
            return self;
        }
        match (self, name) {
            (Self::Root, "target") => Self::Target,
            (Self::Root, "action") => Self::Action,
            (Self::Root, "operation") => Self::Operation,
            (Self::Root, "payload") => Self::Payload,
            (Self::Payload, "action") => Self::PayloadAction,
            _ => Self::Other,
        }
    }

    /// Whether any value may stand here.
    pub const fn takes_any(self) -> bool {
        matches!(self, Self::Operation | Self::Payload | Self::PayloadAction | Self::Other)
    }

    /// A value that is no string stands where the envelope asks for one, or no object where it asks for that.
    pub fn refuses(self) -> Result<(), Failure> {
        let what = match self {
            Self::Root => "the body must be a JSON object",
            Self::Target => "\"target\" must be a string",
            Self::Action => "\"action\" must be a string or null",
            Self::Operation | Self::Payload | Self::PayloadAction | Self::Other => return Ok(()),
        };
        Err(invalid(what))
    }
}

impl<'de> Place<'de> {
    /// With one more member of the root.
    fn with(self, role: Role, name: &Cow<'de, str>) -> Self {
        let name = match name {
            Cow::Borrowed(name) => Some(*name),
            Cow::Owned(_) => None,
        };
        match (self, role, name) {
            (Self::Nowhere, Role::Payload, Some(name)) => Self::Between(name, None),
            (Self::Between(before, None), _, Some(name)) => Self::Between(before, Some(name)),
            (Self::Nowhere, Role::Payload, None) | (Self::Between(_, None), _, None) => Self::Somewhere,
            (place, ..) => place,
        }
    }
}

impl<'de> Walk<'de, '_> {
    pub fn null(&mut self, role: Role) -> Result<(), Failure> {
        if role == Role::Action { Ok(()) } else { role.refuses() }
    }

    pub fn number_or_truth(&mut self, role: Role, value: Bare, under: Under) -> Result<(), Failure> {
        role.refuses()?;
        self.bare(value, under)
    }

    /// Most strings are told by their first bytes to be nothing that anybody looks at.
    #[inline(always)]
    pub fn text(&mut self, role: Role, text: &str, under: Under) -> Result<(), Failure> {
        if role == Role::Other && under == Under::Nothing && says_nothing(text) { Ok(()) } else { self.text_of(role, text, under) }
    }

    #[inline(never)]
    fn text_of(&mut self, role: Role, text: &str, under: Under) -> Result<(), Failure> {
        match role {
            Role::Operation | Role::Payload | Role::Other => {}
            Role::Root => return role.refuses(),
            Role::Target if text.is_empty() => return Err(invalid("\"target\" must not be empty")),
            // It names a target, or the call goes nowhere.
            Role::Target => {
                self.target = Some(legible(text, NAME_LIMIT));
                return Ok(());
            }
            Role::Action if text.is_empty() => {}
            Role::Action => match Action::parse(text) {
                Some(action) => self.action = Some(action),
                None => return Err(invalid("\"action\" must be at most 128 bytes without control characters")),
            },
            // To most targets this is just data, so it is not refused; what is no action is marked, and so names none that is listed.
            Role::PayloadAction => self.payload_action = Action::parse(&legible(text, NAME_LIMIT)),
        }
        self.string(text, under)
    }

    /// Steps into a member of what has this role and stands under `outer`: the role of its value, and what that stands under.
    #[inline(always)]
    pub fn member(&mut self, around: Role, outer: Under, name: Cow<'de, str>) -> Result<(Role, Under), Failure> {
        let role = around.of_member(&name);
        if around == Role::Root {
            self.payload = self.payload.with(role, &name);
        }
        let reserved = name.starts_with(RESERVED);
        let under = self.enter_member(name, outer);
        if reserved {
            return Err(self.reserved());
        }
        Ok((role, if role == Role::Operation { Under::Sql } else { under }))
    }

    #[cold]
    fn reserved(&self) -> Failure {
        ambiguous(format!("the member at {} has a reserved name", self.pointer()))
    }
}
