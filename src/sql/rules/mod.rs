//! What is refused: one file a rule, each with its examples. A rule looks at one act of a statement and says why it refuses it, or nothing.

mod alter_database;
mod alter_system;
mod change_role;
mod copy_program;
mod delete_without_where;
mod disable_row_security;
mod disable_trigger;
mod drop_cascade;
mod drop_column;
mod drop_database;
mod drop_owned;
mod drop_policy;
mod drop_role;
mod drop_schema;
mod drop_table;
mod drop_tablespace;
mod drop_trigger;
mod drop_view;
mod dynamic_sql;
mod grant;
mod guard_setting;
mod load_library;
mod revoke;
mod role_privilege;
mod server_file;
mod server_function;
mod system_catalog;
mod truncate;
mod unreadable;
mod update_without_where;

use super::act::Act;

pub use server_function::{by_symbol, reaches_beyond_the_data};

/// Every rule there is, in the order in which they are shown.
pub static RULES: [&Rule; 30] = [
    &drop_table::RULE,
    &drop_database::RULE,
    &drop_schema::RULE,
    &truncate::RULE,
    &alter_database::RULE,
    &delete_without_where::RULE,
    &update_without_where::RULE,
    &drop_column::RULE,
    &drop_view::RULE,
    &drop_cascade::RULE,
    &drop_policy::RULE,
    &drop_role::RULE,
    &drop_owned::RULE,
    &drop_tablespace::RULE,
    &grant::RULE,
    &revoke::RULE,
    &role_privilege::RULE,
    &alter_system::RULE,
    &disable_row_security::RULE,
    &disable_trigger::RULE,
    &drop_trigger::RULE,
    &guard_setting::RULE,
    &change_role::RULE,
    &system_catalog::RULE,
    &copy_program::RULE,
    &server_file::RULE,
    &server_function::RULE,
    &load_library::RULE,
    &dynamic_sql::RULE,
    &unreadable::RULE,
];

/// What texts that cannot be read fall under.
pub static UNREADABLE: &Rule = &unreadable::RULE;

#[derive(Debug)]
pub struct Rule {
    /// What policy, records and refusals call it.
    pub id: &'static str,
    pub tier: Tier,
    /// What `blocked_pattern` says: the original's pattern text for the core rules, the id for others.
    pub pattern: &'static str,
    /// What it refuses, in a sentence.
    pub refuses: &'static str,
    /// Whether the rule is about what a literal says, so that one literal is not like another.
    pub literals: Literals,
    /// Statements it refuses, and some it does not although they look alike.
    pub refused: &'static [&'static str],
    pub allowed: &'static [&'static str],
    /// Why this act is refused, if it is.
    pub judge: fn(&Act) -> Option<&'static str>,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Rule {}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// What the original refused as well: it destroys what is stored.
    Core,
    /// It destroys, exposes or unlocks something else, or hides what it does.
    Extended,
}

impl Tier {
    pub const fn severity(self) -> &'static str {
        match self {
            Self::Core => "critical",
            Self::Extended => "high",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literals {
    /// They are data: statements that differ in them are one.
    Data,
    /// They are what the rule is about.
    Matter,
}

pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests;
