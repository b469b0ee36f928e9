//! SET, RESET and DISCARD, COPY, LOAD: what reaches beyond the statement itself.

use super::catalog::is_guard;
use super::{Reader, head};
use crate::sql::act::{Act, SettingTo};
use crate::sql::decode;
use crate::sql::finding::Kind;
use crate::sql::lexer::{Shape, Token};
use crate::sql::tokens::{Cursor, k};

impl Reader {
    /// From SET, RESET or DISCARD on.
    pub(super) fn setting(&mut self, cursor: Cursor<'_>) -> Kind {
        let mut rest = cursor;
        let verb = rest.kw(0);
        rest.advance(1);
        head::set_scope(&mut rest);
        let name = match verb {
            // Among the rest it says RESET SESSION AUTHORIZATION.
            k::DISCARD if rest.is(k::ALL) => AUTHORIZATION.to_owned(),
            k::DISCARD => return Kind::Session,
            _ if rest.is(k::AUTHORIZATION) => AUTHORIZATION.to_owned(),
            _ => match rest.name() {
                Some(name) => name.parts.join(".").to_ascii_lowercase(),
                None => return Kind::Session,
            },
        };
        let is_set = verb == k::SET && (rest.eat(k::TO) || rest.eat_operator("="));
        let to = rest.peek(0).filter(|_| is_set).map_or(SettingTo::Other, |token| setting_to(token, rest.text_of(token)));
        self.note(Act::Setting { name, to }, Kind::Session, Vec::new(), cursor);
        Kind::Session
    }

    /// SET clauses of a function: they hold while it runs.
    pub(super) fn function_settings(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) {
        while !rest.is_end() {
            rest.until(|c| matches!(c.kw(0), k::SET | k::RESET));
            if matches!(rest.kw(0), k::SET | k::RESET) && rest.is_name(1) {
                self.setting(Cursor { end: cursor.end, ..rest });
            }
            rest.advance(1);
        }
    }

    pub(super) fn copy(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        rest.advance(1);
        if rest.is(k::BINARY) && rest.is_name(1) && !matches!(rest.kw(1), k::FROM | k::TO) {
            rest.advance(1);
        }
        let mut objects = Vec::new();
        match rest.group() {
            // What it copies is read among all that stands in parentheses.
            Some(_) => {}
            None => {
                objects.push(rest.name()?);
                rest.group();
            }
        }
        let writes = rest.is(k::FROM);
        if !(rest.eat(k::FROM) || rest.eat(k::TO)) {
            return None;
        }
        let is_text = |ahead| rest.shape(ahead).is_some_and(Shape::is_text);
        if let [table] = objects.as_slice()
            && writes
            && is_guard(table)
        {
            self.note(Act::CatalogWrite, Kind::Copy, objects.clone(), cursor);
        }
        if rest.is(k::PROGRAM) && is_text(1) {
            self.note(Act::CopyProgram, Kind::Copy, objects, cursor);
        } else if is_text(0) {
            self.note(Act::CopyFile, Kind::Copy, objects, cursor);
        }
        Some(Kind::Copy)
    }

    pub(super) fn load(&mut self, cursor: Cursor<'_>) -> Kind {
        let mut rest = cursor;
        rest.advance(2);
        if head::ends(&rest) {
            self.note(Act::Load, Kind::Maintain, Vec::new(), cursor);
        }
        Kind::Maintain
    }
}

/// What `SET SESSION AUTHORIZATION` sets, as `set_config` calls it.
const AUTHORIZATION: &str = "session_authorization";

/// What a setting is set to, by one token. Of the words for true and false, any beginning that is clear will do.
pub(super) fn setting_to(token: &Token, written: &str) -> SettingTo {
    let said = match token.shape {
        Shape::Word | Shape::Number => written.to_ascii_lowercase(),
        Shape::Quoted | Shape::UnicodeQuoted => decode::name(token.shape, written).to_ascii_lowercase(),
        shape if shape.is_text() => decode::literal(shape, written).to_ascii_lowercase(),
        _ => return SettingTo::Unknown,
    };
    let begins = |whole: &str, least: usize| said.len() >= least && whole.starts_with(said.as_str());
    // However a number writes it.
    let is_zero = said.starts_with('0') && said.chars().all(|c| "0_xob".contains(c));
    if begins("off", 2) || begins("false", 1) || begins("no", 1) || is_zero { SettingTo::Off } else { SettingTo::Other }
}
