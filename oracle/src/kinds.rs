//! What kind of statement PostgreSQL took it for, in the judge's words.

use eliza_gatekeeper::sql::Kind;

use crate::facts::runs;
use crate::tree::Tree;

/// Which kinds are right for a statement; more than one where the judge's words leave a choice. None for a kind of node that is none of
/// them, which is a gap here.
pub fn of(statement: &Tree) -> Vec<Kind> {
    let kind = match statement.name() {
        "SelectStmt" => return select(statement),
        "InsertStmt" => Kind::Insert,
        "UpdateStmt" => Kind::Update,
        "DeleteStmt" => Kind::Delete,
        "MergeStmt" => Kind::Merge,
        "TruncateStmt" => Kind::Truncate,
        "ExplainStmt" if runs(statement) == Some(true) => return of(statement.get("query")),
        "ExplainStmt" if runs(statement) == Some(false) => Kind::Read,
        "ExplainStmt" => {
            let mut kinds = of(statement.get("query"));
            kinds.push(Kind::Read);
            return kinds;
        }
        "VariableShowStmt" => Kind::Read,
        // They only read; and they are the session's own.
        "FetchStmt" => return vec![Kind::Read, Kind::Session],
        "GrantStmt" | "GrantRoleStmt" if statement.get("is_grant").is(1) => Kind::Grant,
        "GrantStmt" | "GrantRoleStmt" => Kind::Revoke,
        "CopyStmt" => Kind::Copy,
        "DoStmt" | "CallStmt" | "ExecuteStmt" => Kind::Run,
        "TransactionStmt" | "LockStmt" => Kind::Transaction,
        "VariableSetStmt" | "ConstraintsSetStmt" | "DiscardStmt" | "ListenStmt" | "UnlistenStmt" | "NotifyStmt" | "DeallocateStmt"
        | "PrepareStmt" | "DeclareCursorStmt" | "ClosePortalStmt" => Kind::Session,
        "VacuumStmt" | "ReindexStmt" | "ClusterStmt" | "CheckPointStmt" | "LoadStmt" | "RefreshMatViewStmt" => Kind::Maintain,
        "CommentStmt"
        | "SecLabelStmt"
        | "ImportForeignSchemaStmt"
        | "IndexStmt"
        | "ViewStmt"
        | "RuleStmt"
        | "DefineStmt"
        | "CompositeTypeStmt" => Kind::Create,
        "RenameStmt" | "ReassignOwnedStmt" => Kind::Alter,
        "DropdbStmt" => Kind::Drop,
        name if name.starts_with("Create") => Kind::Create,
        name if name.starts_with("Alter") => Kind::Alter,
        name if name.starts_with("Drop") => Kind::Drop,
        _ => return Vec::new(),
    };
    vec![kind]
}

fn select(statement: &Tree) -> Vec<Kind> {
    if makes_a_table(statement) {
        return vec![Kind::Create];
    }
    let changes = |tree: &Tree| -> Vec<Kind> {
        let ctes = tree.get("with_clause").get("ctes").items().iter();
        ctes.filter_map(|cte| change(cte.get("ctequery"))).collect()
    };
    let own = changes(statement);
    if !own.is_empty() {
        // Of several changes, any may be said to be what it does.
        return all_changes(statement.get("with_clause"));
    }
    // PostgreSQL refuses these only after its parser: a data-modifying WITH that is not at the top.
    let mut kinds = vec![Kind::Read];
    if statement.any(&|part| !changes(part).is_empty()) {
        kinds.extend([Kind::Insert, Kind::Update, Kind::Delete, Kind::Merge]);
    }
    kinds
}

fn all_changes(tree: &Tree) -> Vec<Kind> {
    change(tree).into_iter().chain(tree.children().flat_map(all_changes)).collect()
}

fn change(statement: &Tree) -> Option<Kind> {
    match statement.name() {
        "InsertStmt" => Some(Kind::Insert),
        "UpdateStmt" => Some(Kind::Update),
        "DeleteStmt" => Some(Kind::Delete),
        "MergeStmt" => Some(Kind::Merge),
        _ => None,
    }
}

/// INTO stands in the first of the SELECTs that a UNION is of.
fn makes_a_table(statement: &Tree) -> bool {
    !statement.get("into_clause").is_nothing() || statement.get("larg").node().is_some() && makes_a_table(statement.get("larg"))
}
