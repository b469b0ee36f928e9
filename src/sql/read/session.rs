//! SET and RESET, COPY, LOAD: what reaches beyond the statement itself.

use super::{Reader, head};
use crate::sql::act::{Act, SettingTo};
use crate::sql::finding::Kind;
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};

impl Reader {
    /// From SET or RESET on.
    pub(super) fn setting(&mut self, cursor: Cursor<'_>) -> Kind {
        let mut rest = cursor;
        let resets = rest.is(k::RESET);
        rest.advance(1);
        head::set_scope(&mut rest);
        let Some(name) = rest.name() else { return Kind::Session };
        let is_set = rest.eat(k::TO) || rest.eat_operator("=");
        let to = match (is_set && !resets).then(|| rest.peek(0)).flatten() {
            Some(token) if matches!(token.shape, Shape::Word | Shape::Literal | Shape::Number) => {
                let word = rest.text_of(token).trim_matches('\'').to_ascii_lowercase();
                // A setting takes any beginning of these words that is clear.
                let is_off = word == "0" || word == "no" || word == "n" || "false".starts_with(&word) || word == "of" || word == "off";
                if is_off && !word.is_empty() { SettingTo::Off } else { SettingTo::Other }
            }
            Some(_) => SettingTo::Unknown,
            None => SettingTo::Other,
        };
        self.note(Act::Setting { name: name.parts.join(".").to_ascii_lowercase(), to }, Kind::Session, Vec::new(), cursor);
        Kind::Session
    }

    /// SET clauses of a function: they hold while it runs.
    pub(super) fn function_settings(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) {
        while !rest.is_end() {
            rest.until(|c| c.is(k::SET));
            if rest.is(k::SET) && rest.is_name(1) {
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
        let reads = rest.is(k::TO);
        if !(rest.eat(k::FROM) || rest.eat(k::TO)) {
            return None;
        }
        let is_literal = |shape| matches!(shape, Some(Shape::Literal | Shape::Escaped | Shape::Unicode | Shape::Dollar));
        if rest.is(k::PROGRAM) && is_literal(rest.shape(1)) {
            self.note(Act::CopyProgram, Kind::Copy, objects, cursor);
        } else if is_literal(rest.shape(0)) {
            self.note(Act::CopyFile, Kind::Copy, objects, cursor);
        } else if reads && objects.is_empty() {
            return Some(Kind::Copy);
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
