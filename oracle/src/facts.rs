//! What PostgreSQL's syntax tree of a text says must be found in it.

use std::collections::BTreeSet;

use eliza_gatekeeper::sql::Kind;
use eliza_gatekeeper::sql::rules::reaches_beyond_the_data;
use pg_query::protobuf::{AlterTableType, CmdType, DiscardMode, DropBehavior, MergeMatchKind, ObjectType, VariableSetKind};

use crate::condition::{Choice, choice};
use crate::kinds;
use crate::libpg_query::{has_a_parameter_for_a_literal, without_comments_between_literals};
use crate::tree::Tree;

/// Languages whose code nothing holds back.
const UNTRUSTED: [&str; 10] =
    ["javau", "pljavau", "plperlu", "plpython2u", "plpython3u", "plpythonu", "plr", "plsh", "pltclu", "plluau"];

/// Who may do what, and what watches over it: no write to these passes.
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

/// Code in code; beyond it nothing is said.
const DEPTH: usize = 4;

/// Functions that run SQL that they are given as text: what is found there, is.
const RUN_TEXT: [&str; 20] = [
    "alter_job",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "cursor_to_xml",
    "exec",
    "exec_sql",
    "execute_sql",
    "execute_query",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "run_query",
    "run_sql",
    "schedule",
    "schedule_in_database",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    /// Of each statement, which kinds are right for it.
    pub kinds: Vec<Vec<Kind>>,
    /// Rules that must be found.
    pub must: BTreeSet<&'static str>,
    /// Rules that may be found: where two honest readers differ.
    pub may: BTreeSet<&'static str>,
    /// It carries code that this does not read, so that anything may be found.
    pub is_opaque: bool,
    /// Whether there is something among it that PostgreSQL's grammar takes, and PostgreSQL never runs: a judge may take it for a sentence.
    pub counts_are_open: bool,
}

/// None, if PostgreSQL rejects the text.
pub fn classify(sql: &str) -> Option<Oracle> {
    at_depth(sql, 0)
}

fn at_depth(sql: &str, depth: usize) -> Option<Oracle> {
    // The wrapper's own summaries of a tree do not expect every tree that there is.
    let sql = without_comments_between_literals(sql);
    if has_a_parameter_for_a_literal(&sql) {
        return None;
    }
    let parsed = std::panic::catch_unwind(|| pg_query::parse(&sql)).ok()?.ok()?;
    let mut oracle = Oracle::default();
    for statement in &parsed.protobuf.stmts {
        let tree = Tree::of(&statement.stmt);
        oracle.kinds.push(kinds::of(&tree));
        oracle.read(&tree, depth);
        // In the tree, an empty name of a file is like none.
        if tree.name() == "CopyStmt" && (sql.contains("''") || sql.contains("$$")) {
            oracle.may("server-file");
        }
    }
    Some(oracle)
}

/// A condition on the rows of what is joined chooses none of the table's own.
fn joined(choice: Choice, with: &Tree) -> Choice {
    if choice == Choice::Some && !with.items().is_empty() { Choice::Unsure } else { choice }
}

/// Whether EXPLAIN runs what it explains; None, if PostgreSQL decides that later.
pub fn runs(explain: &Tree) -> Option<bool> {
    let said: Vec<Option<bool>> = explain
        .get("options")
        .items()
        .iter()
        .filter(|option| option.get("defname").text() == "analyze")
        .map(|option| {
            let to = option.get("arg");
            match (to.name(), to.get("ival").number(), to.get("sval").text().to_ascii_lowercase().as_str()) {
                ("", ..) | ("Integer", 1, _) | ("String", _, "true" | "on") | ("Boolean", ..) => Some(true),
                ("Integer", 0, _) | ("String", _, "false" | "off") => Some(false),
                // PostgreSQL refuses anything else.
                _ => None,
            }
        })
        .collect();
    match said.last() {
        None => Some(false),
        // Said more than once: the last one counts, but nobody need know.
        Some(Some(false)) if said.iter().any(|one| *one != Some(false)) => None,
        Some(last) => *last,
    }
}

impl Oracle {
    fn must(&mut self, rule: &'static str) {
        self.must.insert(rule);
    }

    fn may(&mut self, rule: &'static str) {
        self.may.insert(rule);
    }

    fn join(&mut self, other: Self) {
        self.must.extend(other.must);
        self.may.extend(other.may);
        self.is_opaque |= other.is_opaque;
    }

    fn read(&mut self, tree: &Tree, depth: usize) {
        match tree.name() {
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.catalog(tree),
            "CopyStmt" if tree.get("is_from").is(1) => self.catalog(tree),
            _ => {}
        }
        match tree.name() {
            "ExplainStmt" => match runs(tree) {
                Some(true) => {}
                Some(false) => return,
                None => {
                    self.unsure(tree.get("query"), depth);
                    return;
                }
            },
            "DeleteStmt" => self.rows("delete-without-where", joined(choice(tree.get("where_clause")), tree.get("using_clause"))),
            "UpdateStmt" => self.rows("update-without-where", joined(choice(tree.get("where_clause")), tree.get("from_clause"))),
            "MergeStmt" => self.merge(tree),
            "TruncateStmt" => {
                self.must("truncate");
                self.cascade(tree);
            }
            "DropStmt" => self.drop(tree),
            "DropdbStmt" => self.must("drop-database"),
            "DropRoleStmt" => self.must("drop-role"),
            "DropOwnedStmt" => {
                self.must("drop-owned");
                self.cascade(tree);
            }
            "DropTableSpaceStmt" => self.must("drop-tablespace"),
            "DropSubscriptionStmt" => self.cascade(tree),
            // An option that there is none of, and none at all, change nothing.
            "AlterDatabaseStmt" => {
                let known = ["connection_limit", "is_template", "allow_connections", "tablespace"];
                let name = |option: &Tree| option.get("defname").text().to_ascii_lowercase();
                if tree.get("options").items().iter().any(|option| known.contains(&name(option).as_str())) {
                    self.must("alter-database");
                } else {
                    self.may("alter-database");
                    self.counts_are_open = true;
                }
            }
            "AlterDatabaseRefreshCollStmt" => self.must("alter-database"),
            "RenameStmt" if tree.get("rename_type").is(ObjectType::ObjectDatabase as i32) => self.must("alter-database"),
            "AlterOwnerStmt" if tree.get("object_type").is(ObjectType::ObjectDatabase as i32) => self.must("alter-database"),
            "AlterDatabaseSetStmt" | "AlterSystemStmt" => {
                self.must(if tree.name() == "AlterSystemStmt" { "alter-system" } else { "alter-database" });
                self.may("guard-setting");
                return;
            }
            "AlterTableCmd" => self.alter_table(tree),
            "AlterEventTrigStmt" => match tree.get("tgenabled").text() {
                "D" => self.must("disable-trigger"),
                "R" => self.may("disable-trigger"),
                _ => {}
            },
            "GrantStmt" | "GrantRoleStmt" => self.must(if tree.get("is_grant").is(1) { "grant" } else { "revoke" }),
            "CreateRoleStmt" | "AlterRoleStmt" => self.role(tree),
            "VariableSetStmt" => self.setting(tree),
            "DiscardStmt" if tree.get("target").is(DiscardMode::DiscardAll as i32) => self.must("change-role"),
            "CopyStmt" if tree.get("is_program").is(1) => self.must("copy-program"),
            "CopyStmt" if !tree.get("filename").is_nothing() => self.must("server-file"),
            "LoadStmt" => self.must("load-library"),
            "FuncCall" => self.call(tree),
            // `f(1) 'a'` is a literal of a type that is called like a function.
            "TypeName" if tree.get("names").last_name() == "set_config" => self.may("guard-setting"),
            "TypeName" if reaches_beyond_the_data(tree.get("names").last_name()) => self.may("server-function"),
            // A parser's work ends at the quotes; PL/pgSQL has one of its own.
            "DoStmt" => self.is_opaque = true,
            "CreateFunctionStmt" => self.function(tree, depth),
            // Made of functions that are refused, under a name of its own.
            "DefineStmt" | "CreateCastStmt" | "CreateOpClassStmt" | "CreateConversionStmt" | "CreateRangeStmt" => {
                ["server-function", "guard-setting", "dynamic-sql"].into_iter().for_each(|rule| self.may(rule));
            }
            "CreateExtensionStmt" if UNTRUSTED.contains(&tree.get("extname").text()) => self.must("load-library"),
            "CreatePLangStmt" if UNTRUSTED.contains(&tree.get("plname").text()) => self.must("load-library"),
            _ => {}
        }
        for child in tree.children() {
            self.read(child, depth);
        }
    }

    /// Whatever is found there may be found, and need not.
    fn unsure(&mut self, tree: &Tree, depth: usize) {
        let mut other = Self::default();
        other.read(tree, depth);
        self.may.extend(other.must);
        self.may.extend(other.may);
        self.is_opaque |= other.is_opaque;
    }

    fn rows(&mut self, rule: &'static str, choice: Choice) {
        match choice {
            Choice::All => self.must(rule),
            Choice::Unsure => self.may(rule),
            Choice::Some => {}
        }
    }

    fn merge(&mut self, tree: &Tree) {
        let join = choice(tree.get("join_condition"));
        for when in tree.get("merge_when_clauses").items() {
            let command = when.get("command_type");
            let rule = if command.is(CmdType::CmdDelete as i32) {
                "delete-without-where"
            } else if command.is(CmdType::CmdUpdate as i32) {
                "update-without-where"
            } else {
                continue;
            };
            let own = choice(when.get("condition"));
            match (when.get("match_kind").is(MergeMatchKind::MergeWhenMatched as i32), join, own) {
                (true, Choice::All, Choice::All) => self.must(rule),
                // All that has no match, or all that has: which that is depends on the other table. And what looks at the rows of the other
                // table alone, chooses none of this one.
                _ => self.may(rule),
            }
        }
    }

    fn drop(&mut self, tree: &Tree) {
        let what = ObjectType::try_from(i32::try_from(tree.get("remove_type").number()).unwrap_or_default());
        match what {
            Ok(ObjectType::ObjectTable | ObjectType::ObjectForeignTable) => self.must("drop-table"),
            Ok(ObjectType::ObjectSchema) => self.must("drop-schema"),
            Ok(ObjectType::ObjectView | ObjectType::ObjectMatview) => self.must("drop-view"),
            Ok(ObjectType::ObjectTrigger | ObjectType::ObjectRule | ObjectType::ObjectEventTrigger) => self.must("drop-trigger"),
            Ok(ObjectType::ObjectPolicy) => {
                self.must("drop-policy");
                return;
            }
            _ => {}
        }
        self.cascade(tree);
    }

    fn cascade(&mut self, tree: &Tree) {
        if tree.get("behavior").is(DropBehavior::DropCascade as i32) {
            self.must("drop-cascade");
        }
    }

    fn alter_table(&mut self, command: &Tree) {
        match AlterTableType::try_from(i32::try_from(command.get("subtype").number()).unwrap_or_default()) {
            Ok(AlterTableType::AtDropColumn) => {
                self.must("drop-column");
                self.cascade(command);
            }
            Ok(AlterTableType::AtDisableRowSecurity | AlterTableType::AtNoForceRowSecurity) => self.must("disable-row-security"),
            Ok(
                AlterTableType::AtDisableTrig
                | AlterTableType::AtDisableTrigAll
                | AlterTableType::AtDisableTrigUser
                | AlterTableType::AtDisableRule,
            ) => self.must("disable-trigger"),
            // They run while replicating, and at no other time.
            Ok(AlterTableType::AtEnableReplicaTrig | AlterTableType::AtEnableReplicaRule) => self.may("disable-trigger"),
            _ => {}
        }
    }

    fn role(&mut self, tree: &Tree) {
        let alters = tree.name() == "AlterRoleStmt";
        for option in tree.get("options").items() {
            match option.get("defname").text() {
                "superuser" | "createrole" | "createdb" | "isreplication" | "bypassrls" if option.get("arg").get("boolval").is(1) => {
                    self.must("role-privilege");
                }
                "password" if alters => self.must("role-privilege"),
                // ALTER GROUP … ADD USER is GRANT, and DROP USER is REVOKE.
                "rolemembers" if alters => self.must(if tree.get("action").number() < 0 { "revoke" } else { "grant" }),
                "addroleto" | "rolemembers" | "adminmembers" => {
                    self.may("grant");
                    self.may("role-privilege");
                }
                _ => {}
            }
        }
    }

    fn setting(&mut self, tree: &Tree) {
        let kind = tree.get("kind");
        let name = tree.get("name").text().to_ascii_lowercase();
        let to = tree.get("args").items().first().map(said);
        match name.as_str() {
            "session_replication_role" | "row_security" => self.must("guard-setting"),
            "standard_conforming_strings" if kind.is(VariableSetKind::VarSetValue as i32) && to.is_some_and(|to| is_off(&to)) => {
                self.must("guard-setting");
            }
            "standard_conforming_strings" if kind.is(VariableSetKind::VarSetValue as i32) => self.may_unless_on(tree),
            // Back to what it was at the start, or as it is now: who knows what that is.
            "standard_conforming_strings" => self.may("guard-setting"),
            name => self.must_for(name),
        }
    }

    /// A setting that is found whatever it is set to.
    fn must_for(&mut self, setting: &str) {
        match setting {
            "allow_system_table_mods" | "ignore_checksum_failure" | "zero_damaged_pages" => self.must("guard-setting"),
            "dynamic_library_path" | "local_preload_libraries" | "session_preload_libraries" => self.must("load-library"),
            "role" | "session_authorization" => self.must("change-role"),
            name if name.starts_with("request.jwt") => self.must("change-role"),
            _ => {}
        }
    }

    fn catalog(&mut self, tree: &Tree) {
        let relation = tree.get("relation");
        if !matches!(relation.get("schemaname").text(), "" | "pg_catalog") {
            return;
        }
        match relation.get("relname").text() {
            name if GUARDS.contains(&name) => self.must("system-catalog"),
            "pg_attribute" | "pg_class" | "pg_database" | "pg_namespace" if tree.name() == "DeleteStmt" => self.must("system-catalog"),
            "pg_attribute" | "pg_class" | "pg_database" | "pg_namespace" => self.may("system-catalog"),
            // Which setting it is may be told or not.
            "pg_settings" => ["guard-setting", "change-role", "load-library"].into_iter().for_each(|rule| self.may(rule)),
            _ => {}
        }
    }

    fn may_unless_on(&mut self, tree: &Tree) {
        let to = tree.get("args").items().first().map(said).unwrap_or_default().to_ascii_lowercase();
        if !matches!(to.as_str(), "on" | "true" | "yes" | "1") {
            self.may("guard-setting");
        }
    }

    fn call(&mut self, tree: &Tree) {
        let name = tree.get("funcname").last_name();
        if reaches_beyond_the_data(name) {
            self.must("server-function");
        }
        if RUN_TEXT.contains(&name) {
            self.is_opaque = true;
        }
        if name != "set_config" {
            return;
        }
        let mut args = [Tree::Nothing, Tree::Nothing];
        for (at, arg) in tree.get("args").items().iter().enumerate() {
            match (arg.name(), arg.get("name").text(), at) {
                ("NamedArgExpr", "setting_name", _) => args[0] = arg.get("arg").clone(),
                ("NamedArgExpr", "new_value", _) => args[1] = arg.get("arg").clone(),
                (_, _, 0 | 1) => args[at] = arg.clone(),
                _ => {}
            }
        }
        let [name, to] = args.map(|arg| literal(&arg).map(str::to_owned));
        match name.map(|name| name.to_ascii_lowercase()).as_deref() {
            Some("session_replication_role" | "row_security") => self.must("guard-setting"),
            Some("standard_conforming_strings") if to.as_deref().is_some_and(is_off) => self.must("guard-setting"),
            Some("standard_conforming_strings") | None => self.may("guard-setting"),
            Some(name) => self.must_for(name),
        }
    }

    fn function(&mut self, tree: &Tree, depth: usize) {
        let options = tree.get("options").items();
        let option = |wanted: &str| options.iter().find(|option| option.get("defname").text() == wanted).map(|option| option.get("arg"));
        let Some(code) = option("as") else { return };
        let language = option("language").map(|language| language.get("sval").text().to_ascii_lowercase());
        match language.as_deref() {
            Some("sql") if depth < DEPTH => {
                let code = code.items().first().map(|body| body.get("sval").text()).unwrap_or_default();
                match at_depth(code, depth + 1) {
                    Some(inside) => self.join(inside),
                    None => self.is_opaque = true,
                }
            }
            Some("c") => ["load-library", "server-function", "guard-setting"].into_iter().for_each(|rule| self.may(rule)),
            Some("internal") => ["server-function", "guard-setting"].into_iter().for_each(|rule| self.may(rule)),
            _ => self.is_opaque = true,
        }
    }
}

/// What a setting is set to, as far as it is one word.
fn said(value: &Tree) -> String {
    let what = value.get("val");
    match what.name() {
        "String" => what.get("sval").text().to_owned(),
        "Integer" => what.get("ival").number().to_string(),
        _ => String::new(),
    }
}

/// As PostgreSQL reads a setting: any clear beginning of a word.
fn is_off(to: &str) -> bool {
    let to = to.to_ascii_lowercase();
    to == "0" || to == "of" || to == "off" || !to.is_empty() && ("false".starts_with(&to) || "no".starts_with(&to))
}

/// A text that stands there, cast or not.
fn literal(tree: &Tree) -> Option<&str> {
    match tree.name() {
        "TypeCast" if matches!(tree.get("type_name").get("names").last_name(), "text" | "varchar" | "name") => literal(tree.get("arg")),
        "AConst" if tree.get("val").name() == "String" => Some(tree.get("val").get("sval").text()),
        _ => None,
    }
}
