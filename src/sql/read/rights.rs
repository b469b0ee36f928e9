//! Who may do what: GRANT, REVOKE, and the powers of roles.

use super::schema::roles;
use super::{Reader, head};
use crate::sql::act::Act;
use crate::sql::decode;
use crate::sql::finding::{Kind, Name};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::{Class, Kw};

impl Reader {
    pub(super) fn rights(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        let is_grant = rest.kw(0) == k::GRANT;
        rest.advance(1);
        let granted = rest.until(|c| matches!(c.kw(0), k::ON | k::TO | k::FROM) || head::ends(c));
        // ON names what it is about, if it is not about roles. All tables of a schema have no name.
        let is_of_roles = !rest.is(k::ON);
        let mut objects = if rest.eat(k::ON) { on(&mut rest)? } else { granted_roles(granted) };
        rest.until(|c| matches!(c.kw(0), k::TO | k::FROM) || head::ends(c));
        if !(rest.eat(k::TO) || rest.eat(k::FROM)) {
            return None;
        }
        let whom = roles(&mut rest)?;
        tail(&mut rest)?;
        // A role that is granted to another is as much the one's concern as the other's.
        if is_of_roles && !objects.is_empty() {
            objects.extend(whom);
        }
        let (act, kind) = if is_grant { (Act::Grant, Kind::Grant) } else { (Act::Revoke, Kind::Revoke) };
        self.note(act, kind, objects, cursor);
        Some(kind)
    }

    pub(super) fn default_privileges(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<Kind> {
        rest.until(|c| matches!(c.kw(0), k::GRANT | k::REVOKE));
        let act = match rest.kw(0) {
            k::GRANT => Act::Grant,
            k::REVOKE => Act::Revoke,
            _ => return None,
        };
        self.note(act, Kind::Alter, Vec::new(), cursor);
        Some(Kind::Alter)
    }

    pub(super) fn alter_role(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>, kind: Kw) -> Option<Kind> {
        let everyone = rest.is(k::ALL);
        let names = if rest.eat(k::ALL) { Vec::new() } else { roles(&mut rest)? };
        if rest.eat(k::IN) {
            rest.eat(k::DATABASE);
            rest.name()?;
        }
        if matches!(rest.kw(0), k::SET | k::RESET) {
            self.setting(rest);
            return Some(Kind::Alter);
        }
        if everyone {
            return None;
        }
        if kind == k::GROUP && matches!(rest.kw(0), k::ADD | k::DROP) {
            let act = if rest.is(k::ADD) { Act::Grant } else { Act::Revoke };
            rest.advance(1);
            rest.eat(k::USER);
            let members = roles(&mut rest).unwrap_or_default();
            self.note(act, Kind::Alter, names.into_iter().chain(members).collect(), cursor);
            return Some(Kind::Alter);
        }
        if rest.eat(k::RENAME) {
            return rest.is(k::TO).then_some(Kind::Alter);
        }
        self.role_options(cursor, rest, names, Kind::Alter)
    }

    pub(super) fn create_role(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<Kind> {
        let name = rest.name()?;
        self.role_options(cursor, rest, vec![name], Kind::Create)
    }

    fn role_options(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>, mut names: Vec<Name>, kind: Kind) -> Option<Kind> {
        rest.eat(k::WITH);
        let (mut powerful, mut grants) = (false, false);
        while !head::ends(&rest) {
            // In quotes they are the same options.
            let word = rest.peek(0).map(|token| decode::name(token.shape, rest.text_of(token))).unwrap_or_default();
            rest.advance(1);
            match word.as_str() {
                "superuser" | "createrole" | "createdb" | "replication" | "bypassrls" => powerful = true,
                "nosuperuser" | "nocreaterole" | "nocreatedb" | "noreplication" | "nobypassrls" | "login" | "nologin" | "inherit"
                | "noinherit" | "createuser" | "nocreateuser" | "encrypted" | "unencrypted" => {}
                "password" => {
                    // Of a role that is there already: whoever knew the old one is locked out, and somebody else let in.
                    powerful |= kind == Kind::Alter;
                    rest.advance(1);
                }
                "connection" => {
                    rest.advance(1);
                    rest.eat_operator("-");
                    rest.advance(1);
                }
                "valid" => rest.advance(2),
                "sysid" => rest.advance(1),
                "in" => {
                    // It becomes a member of these: a GRANT by another word.
                    rest.advance(1);
                    names.extend(roles(&mut rest)?);
                    powerful = true;
                }
                "role" | "admin" | "user" => {
                    names.extend(roles(&mut rest)?);
                    // A role that is there already is granted to others.
                    grants |= kind == Kind::Alter;
                }
                _ => return None,
            }
        }
        if grants {
            self.note(Act::Grant, kind, names.clone(), cursor);
        }
        if powerful {
            self.note(Act::RolePrivilege, kind, names, cursor);
        }
        Some(kind)
    }
}

/// `a, "b"`, `ADMIN OPTION FOR a`; none, if any of it is no name of a role.
fn granted_roles(mut granted: Cursor<'_>) -> Vec<Name> {
    if granted.kw(1) == k::OPTION && granted.kw(2) == k::FOR {
        granted.advance(3);
    }
    roles(&mut granted).filter(|_| granted.is_end()).unwrap_or_default()
}

/// `TABLE a, b`, `ALL TABLES IN SCHEMA s`, `FUNCTION f(int)`, `FOREIGN SERVER s`, `LARGE OBJECT 17`: the names among them.
fn on(rest: &mut Cursor<'_>) -> Option<Vec<Name>> {
    match rest.kw(0) {
        k::ALL => {
            rest.until(|c| matches!(c.kw(0), k::TO | k::FROM) || head::ends(c));
            return Some(Vec::new());
        }
        k::TABLE
        | k::SEQUENCE
        | k::DATABASE
        | k::DOMAIN
        | k::FUNCTION
        | k::PROCEDURE
        | k::ROUTINE
        | k::LANGUAGE
        | k::SCHEMA
        | k::TABLESPACE
        | k::TYPE
            if rest.is_name(1) =>
        {
            rest.advance(1);
        }
        k::FOREIGN if rest.kw(1) == k::SERVER => rest.advance(2),
        k::FOREIGN if rest.kw(1) == k::DATA => rest.advance(3),
        k::LARGE | k::PARAMETER => {
            rest.until(|c| matches!(c.kw(0), k::TO | k::FROM) || head::ends(c));
            return Some(Vec::new());
        }
        _ => {}
    }
    let mut names = Vec::new();
    loop {
        names.push(rest.name()?);
        rest.group();
        if !rest.eat_shape(Shape::Comma) {
            return Some(names);
        }
    }
}

/// What may follow whom.
fn tail(rest: &mut Cursor<'_>) -> Option<()> {
    while !head::ends(rest) {
        let is_known = matches!(
            rest.kw(0),
            k::WITH
                | k::GRANT
                | k::GRANTED
                | k::ADMIN
                | k::OPTION
                | k::BY
                | k::CASCADE
                | k::RESTRICT
                | k::INHERIT
                | k::SET
                | k::TRUE
                | k::FALSE
                | k::CURRENT_USER
                | k::CURRENT_ROLE
                | k::SESSION_USER
                | k::GROUP
        );
        // Behind BY there is a role, and behind WITH or a comma an option, which later versions may have more of.
        let before = rest.at.checked_sub(1).and_then(|before| rest.tokens.get(before));
        let is_named = before.is_some_and(|before| matches!(before.kw, k::BY | k::WITH) || before.shape == Shape::Comma);
        if !is_known && !is_named && rest.shape(0) != Some(Shape::Comma) && rest.kw(0).class() == Class::Plain {
            return None;
        }
        rest.advance(1);
    }
    Some(())
}
