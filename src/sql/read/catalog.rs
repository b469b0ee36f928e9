//! The system catalogs, written to as if they were tables: what ALTER, GRANT or SET would be seen to do is done there by an UPDATE.

use super::Reader;
use super::session::setting_to;
use crate::sql::act::{Act, SettingTo};
use crate::sql::decode;
use crate::sql::finding::{Kind, Name};
use crate::sql::lexer::Shape;
use crate::sql::tokens::{Cursor, k};

/// Who may do what, and what watches over it. No work of an application is done by writing to these.
const GUARDS: [&str; 12] = [
    "pg_auth_members",
    "pg_authid",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_event_trigger",
    "pg_language",
    "pg_parameter_acl",
    "pg_policy",
    "pg_proc",
    "pg_rewrite",
    "pg_trigger",
    "pg_user_mapping",
];

/// Whoever deletes from these drops tables; to update them is an old way to mend statistics or lengths.
const STORES: [&str; 4] = ["pg_attribute", "pg_class", "pg_database", "pg_namespace"];

/// What in those guards what they speak of.
const GUARDING: [&str; 9] =
    ["attacl", "datdba", "nspacl", "nspowner", "relacl", "relforcerowsecurity", "relhastriggers", "relowner", "relrowsecurity"];

impl Reader {
    /// From the verb of a statement that writes rows on.
    pub(super) fn catalog(&mut self, cursor: Cursor<'_>, kind: Kind) {
        let mut rest = cursor;
        rest.advance(1);
        if matches!(rest.kw(0), k::FROM | k::INTO) {
            rest.advance(1);
        }
        let Some(table) = rest.relation().filter(is_of_the_system) else { return };
        if table.last() == "pg_settings" && kind == Kind::Update {
            let (name, to) = setting_of(rest);
            self.note(Act::Setting { name, to }, Kind::Session, Vec::new(), cursor);
            return;
        }
        let unlocks = match kind {
            _ if is_guard(&table) => true,
            _ if !STORES.contains(&table.last()) => false,
            Kind::Update => sets_what_guards(rest),
            Kind::Delete | Kind::Merge => true,
            _ => false,
        };
        if unlocks {
            self.note(Act::CatalogWrite, kind, vec![table], cursor);
        }
    }
}

/// Whether any write to it changes who may do what, or what watches over it.
pub(super) fn is_guard(table: &Name) -> bool {
    is_of_the_system(table) && GUARDS.contains(&table.last())
}

/// `pg_` is a beginning that PostgreSQL keeps for itself, and its own schema comes first wherever names are looked up.
fn is_of_the_system(table: &Name) -> bool {
    let is_in_schema = match table.parts.as_slice() {
        [_] => true,
        [.., schema, _] => schema == "pg_catalog",
        [] => false,
    };
    is_in_schema && table.last().starts_with("pg_")
}

fn sets_what_guards(mut rest: Cursor<'_>) -> bool {
    rest.until(|c| c.is(k::SET));
    let set = rest.until(|c| matches!(c.kw(0), k::FROM | k::WHERE));
    set.here().iter().any(|token| {
        matches!(token.shape, Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)
            && GUARDING.contains(&decode::name(token.shape, set.text_of(token)).as_str())
    })
}

/// `SET setting = 'x' WHERE name = 'y'` is `SET y = x`. Written otherwise, it may be any setting.
fn setting_of(mut rest: Cursor<'_>) -> (String, SettingTo) {
    let mut compared = |before| {
        let is_written = rest.eat(before) && rest.name().is_some() && rest.eat_operator("=");
        let value = rest.peek(0).copied().filter(|token| is_written && token.shape.is_text());
        rest.advance(1);
        value
    };
    let (set, name) = (compared(k::SET), compared(k::WHERE));
    match (set, name) {
        (Some(set), Some(name)) if rest.is_end() => {
            (decode::literal(name.shape, rest.text_of(&name)).to_ascii_lowercase(), setting_to(&set, rest.text_of(&set)))
        }
        _ => ("*".to_owned(), SettingTo::Unknown),
    }
}
