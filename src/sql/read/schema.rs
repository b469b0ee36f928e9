//! TRUNCATE, DROP and ALTER, strictly: what PostgreSQL's grammar does not accept it does not run either, and it may be prose.

use super::{Reader, head};
use crate::sql::act::{Act, Dropped, Reach};
use crate::sql::decode;
use crate::sql::finding::{Kind, Name};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};

impl Reader {
    pub(super) fn schema(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        rest.advance(1);
        match cursor.kw(0) {
            k::TRUNCATE => self.truncate(cursor, rest),
            k::DROP => self.drop(cursor, rest),
            _ => self.alter(cursor, rest),
        }
    }

    fn truncate(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<Kind> {
        rest.eat(k::TABLE);
        let mut tables = Vec::new();
        loop {
            tables.push(rest.relation()?);
            if !rest.eat_shape(Shape::Comma) {
                break;
            }
        }
        if matches!(rest.kw(0), k::RESTART | k::CONTINUE) {
            rest.advance(1);
            rest.eat(k::IDENTITY).then_some(())?;
        }
        let reach = behaviour(&mut rest);
        head::ends(&rest).then_some(())?;
        self.note(Act::Truncate { reach }, Kind::Truncate, tables, cursor);
        Some(Kind::Truncate)
    }

    fn drop(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<Kind> {
        let words = head::kind_of_object(&rest)?;
        let (kind, second) = (rest.kw(0), rest.kw(1));
        let what = match kind {
            k::TABLE => Dropped::Table,
            k::FOREIGN if second == k::TABLE => Dropped::Table,
            k::DATABASE => Dropped::Database,
            k::SCHEMA => Dropped::Schema,
            k::VIEW | k::MATERIALIZED => Dropped::View,
            k::POLICY => Dropped::Policy,
            k::ROLE | k::GROUP => Dropped::Role,
            k::USER if words == 1 => Dropped::Role,
            k::OWNED => Dropped::Owned,
            k::TABLESPACE => Dropped::Tablespace,
            k::TRIGGER | k::RULE => Dropped::Trigger,
            k::EVENT => Dropped::EventTrigger,
            _ => Dropped::Other,
        };
        rest.advance(words);
        rest.eat(k::CONCURRENTLY);
        rest.if_exists();
        let (objects, reach) = match what {
            Dropped::Owned => {
                rest.eat(k::BY);
                let roles = roles(&mut rest)?;
                (roles, behaviour(&mut rest))
            }
            Dropped::Role => (roles(&mut rest)?, Reach::Alone),
            Dropped::Policy | Dropped::Trigger => {
                rest.name()?;
                rest.eat(k::ON).then_some(())?;
                (vec![rest.name()?], behaviour(&mut rest))
            }
            Dropped::Database => {
                let name = rest.name()?;
                if rest.eat(k::WITH) || rest.shape(0) == Some(Shape::Open) {
                    rest.group()?;
                }
                (vec![name], Reach::Alone)
            }
            Dropped::Table | Dropped::Schema | Dropped::View | Dropped::Tablespace | Dropped::EventTrigger => {
                (rest.names()?, behaviour(&mut rest))
            }
            Dropped::Other => {
                let name = rest.name();
                // The name of a server, which can be any word.
                let is_mapping = kind == k::USER;
                rest.until(|c| {
                    let ends_with_it = matches!(c.kw(0), k::CASCADE | k::RESTRICT) && head::ends(&Cursor { at: c.at + 1, ..*c });
                    let before = c.at.checked_sub(1).and_then(|before| c.tokens.get(before));
                    let is_name = is_mapping || before.is_some_and(|token| token.shape == Shape::Comma || token.kw == k::ON);
                    ends_with_it && !is_name || head::ends(c)
                });
                (name.into_iter().collect(), behaviour(&mut rest))
            }
        };
        head::ends(&rest).then_some(())?;
        self.note(Act::Drop { what, reach }, Kind::Drop, objects, cursor);
        Some(Kind::Drop)
    }

    fn alter(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<Kind> {
        let words = head::kind_of_object(&rest)?;
        let kind = rest.kw(0);
        rest.advance(words);
        match kind {
            k::DATABASE => {
                let name = rest.name()?;
                if head::ends(&rest) {
                    // It changes nothing.
                    return Some(Kind::Alter);
                }
                let changes = matches!(rest.kw(0), k::SET | k::RESET | k::OWNER | k::RENAME | k::WITH | k::REFRESH);
                (changes || is_option_of_a_database(rest)).then_some(())?;
                self.note(Act::AlterDatabase, Kind::Alter, vec![name], cursor);
            }
            k::SYSTEM => self.note(Act::AlterSystem, Kind::Alter, Vec::new(), cursor),
            k::DEFAULT => return self.default_privileges(cursor, rest),
            k::ROLE | k::USER | k::GROUP if words == 1 => return self.alter_role(cursor, rest, kind),
            k::EVENT => {
                let name = rest.name()?;
                if rest.eat(k::DISABLE) || rest.eat_all(&[k::ENABLE, k::REPLICA]) {
                    self.note(Act::TriggersOff, Kind::Alter, vec![name], cursor);
                }
            }
            k::FUNCTION | k::PROCEDURE | k::ROUTINE => self.function_settings(cursor, rest),
            k::TABLE | k::VIEW | k::MATERIALIZED | k::INDEX | k::SEQUENCE | k::TYPE | k::FOREIGN => self.alter_table(cursor, rest)?,
            _ => {}
        }
        Some(Kind::Alter)
    }

    /// The actions of ALTER TABLE and its kin stand side by side.
    fn alter_table(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) -> Option<()> {
        if rest.is(k::ALL) {
            return Some(());
        }
        rest.if_exists();
        let table = rest.relation()?;
        while !rest.is_end() {
            let mut action = rest.until(|c| c.shape(0) == Some(Shape::Comma));
            rest.advance(1);
            if let Some(act) = of_table(&mut action) {
                self.note(act, Kind::Alter, vec![table.clone()], cursor);
            }
        }
        Some(())
    }
}

fn of_table(action: &mut Cursor<'_>) -> Option<Act> {
    let verb = action.kw(0);
    action.advance(1);
    match verb {
        k::DROP => match action.kw(0) {
            k::CONSTRAINT => None,
            // DROP EXPRESSION, DROP DEFAULT, DROP NOT NULL come after ALTER COLUMN; here these words can only be names.
            k::COLUMN | k::ATTRIBUTE if !head::ends(&Cursor { at: action.at + 1, ..*action }) => {
                action.advance(1);
                Some(drop_column(*action))
            }
            _ if action.is_name(0) => Some(drop_column(*action)),
            _ => None,
        },
        k::DISABLE => match action.kw(0) {
            k::TRIGGER | k::RULE => Some(Act::TriggersOff),
            k::ROW => Some(Act::RowSecurityOff),
            _ => None,
        },
        k::ENABLE if action.is(k::REPLICA) => Some(Act::TriggersOff),
        k::NO if action.is(k::FORCE) => Some(Act::RowSecurityOff),
        _ => None,
    }
}

/// From IF EXISTS or the name on.
fn drop_column(mut action: Cursor<'_>) -> Act {
    action.if_exists();
    action.name();
    Act::DropColumn { reach: behaviour(&mut action) }
}

/// `a, CURRENT_USER, "b"`
pub(super) fn roles(rest: &mut Cursor<'_>) -> Option<Vec<Name>> {
    let mut roles = Vec::new();
    loop {
        rest.eat(k::GROUP);
        match rest.kw(0) {
            word @ (k::CURRENT_USER | k::CURRENT_ROLE | k::SESSION_USER) => {
                roles.push(Name { parts: vec![rest.word(0).to_ascii_lowercase()] });
                rest.eat(word);
            }
            _ => {
                let name = rest.name()?;
                roles.push(name);
            }
        }
        if !rest.eat_shape(Shape::Comma) {
            return Some(roles);
        }
    }
}

fn behaviour(rest: &mut Cursor<'_>) -> Reach {
    if rest.eat(k::CASCADE) {
        return Reach::Cascade;
    }
    rest.eat(k::RESTRICT);
    Reach::Alone
}

/// Options stand in pairs, `name value` or `name = value`, and the one that counts may be any of them. PostgreSQL's grammar takes every
/// word for a name, so that prose is told from options by there being none that means anything.
fn is_option_of_a_database(mut rest: Cursor<'_>) -> bool {
    while !head::ends(&rest) {
        let option = rest.peek(0).map(|token| decode::name(token.shape, rest.text_of(token))).unwrap_or_default();
        if matches!(option.as_str(), "allow_connections" | "is_template" | "connection_limit" | "tablespace") || rest.is(k::CONNECTION) {
            return true;
        }
        rest.advance(1);
        rest.eat_operator("=");
        rest.advance(1);
    }
    false
}
